#include "dns/wire/bailiwick.h"

#include <algorithm>
#include <vector>

namespace dns {

static constexpr size_t kChainMax = 16;
static constexpr uint16_t kDname = 39, kRrsig = 46, kNsec = 47, kNsec3 = 50;

bool is_within(std::string_view key, std::string_view zone) {
  while (key.size() > zone.size()) key.remove_prefix(uint8_t(key[0]) + size_t(1));
  return key == zone;
}

namespace {

struct Chain {
  std::vector<Name> names;
  bool has(const Name& n) const { return std::find(names.begin(), names.end(), n) != names.end(); }
  bool below(const Name& n) const {
    return std::any_of(names.begin(), names.end(), [&](auto& x) { return is_within(x.key(), n.key()); });
  }
};

// In any order: some servers turn the records of an answer.
bool follow(base::ByteView m, Chain& c) {
  for (size_t before = 0; before != c.names.size() && c.names.size() < kChainMax;) {
    before = c.names.size();
    bool whole = each_answer(m, [&](const Record& r) {
      Name owner = r.owner, target;
      owner.make_lower();
      size_t at = r.data_at;
      if (r.type != type::CNAME || !c.has(owner) || !read_name(m, at, target)) return true;
      target.make_lower();
      if (!c.has(target) && c.names.size() < kChainMax) c.names.push_back(target);
      return true;
    });
    if (!whole) return false;
  }
  return true;
}

}  // namespace

bool keeps_to_question(base::ByteView m) {
  Chain c;
  Name asked;
  size_t at = kHeaderSize;
  if (!read_name(m, at, asked)) return false;
  asked.make_lower();
  c.names.push_back(asked);
  if (!follow(m, c)) return false;
  bool fine = true;
  bool whole = each_answer(m, [&](const Record& r) {
    Name owner = r.owner;
    owner.make_lower();
    return fine = c.has(owner) || ((r.type == kDname || r.type == kRrsig) && c.below(owner));
  });
  if (!whole || !fine) return false;
  whole = each_authority(m, [&](const Record& r) {
    Name owner = r.owner;
    owner.make_lower();
    if (r.type == kNsec || r.type == kNsec3 || r.type == kRrsig) return true;  // proofs, about neighbours
    return fine = c.below(owner);
  });
  return whole && fine;
}

}  // namespace dns
