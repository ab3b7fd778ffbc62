#include "dns/zone/name_table.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "base/core/rng.h"

namespace dns {
namespace {

bool holds(const NameTable& t, const NameTable::Entry& want) {
  return t.find(want.hash, [&](const NameTable::Entry& e) { return e.slot == want.slot && e.at == want.at; });
}

// Few distinct hashes, so that runs are long, wrap around and are torn open everywhere.
TEST(NameTable, AgreesWithAMapUnderChange) {
  base::SeededRng rng(1);
  NameTable t;
  std::map<uint32_t, NameTable::Entry> there;
  for (uint32_t i = 0; i < 30000; i++) {
    uint32_t slot = uint32_t(rng.below(600));
    if (auto it = there.find(slot); it != there.end()) {
      t.remove(it->second);
      ASSERT_FALSE(holds(t, it->second));
      there.erase(it);
    } else {
      NameTable::Entry e{uint32_t(rng.below(40)) * 0x6666666u, slot, uint32_t(rng.below(9))};
      t.add(e);
      there[slot] = e;
    }
    ASSERT_EQ(t.size(), there.size());
    if (i % 97 == 0)
      for (auto& [s, e] : there) ASSERT_TRUE(holds(t, e)) << "after " << i;
  }
  t.remove({1, 2, 3});  // not there
  EXPECT_EQ(t.size(), there.size());
}

TEST(NameTable, HashesDependOnTheSeedAndOnEveryOctet) {
  std::string key = "\3web\4shop\3svc\7cluster\5local";
  for (size_t i = 0; i < key.size(); i++) {
    std::string other = key;
    other[i] = char(other[i] ^ 1);
    EXPECT_NE(name_hash(7, key), name_hash(7, other)) << i;
  }
  EXPECT_NE(name_hash(7, key), name_hash(8, key));
}

}  // namespace
}  // namespace dns
