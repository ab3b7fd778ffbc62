// The file of known peers as anything: what is read is within the bounds and is written again byte by byte.
#include <algorithm>

#include "base/core/assert.h"
#include "tunnel/path/known_peers.h"

using namespace tunnel;

namespace {

// A fuzzer does not find a SHA-256: the input is also tried with the checksum it should have.
base::ByteVec with_checksum(base::ByteView b) {
  base::ByteVec out(b.begin(), b.end());
  if (out.size() < 32) return out;
  out.resize(out.size() - 32);
  auto sum = base::sha256(out);
  out.insert(out.end(), sum.begin(), sum.end());
  return out;
}

void check(base::ByteView b) {
  auto known = KnownPeers::decode(b);
  if (!known) return EM_ASSERT(!known.error().what.empty());
  EM_ASSERT(known->size() <= kKnownPeersMax);
  for (const auto& name : known->by_age()) {
    const KnownPeer* p = known->find(name);
    EM_ASSERT(p && !p->secrets.empty() && p->secrets.size() <= kResumeSecretsMax && p->paths.size() <= kKnownPathsMax);
  }
  auto again = known->encode();
  EM_ASSERT(std::equal(again.begin(), again.end(), b.begin(), b.end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  check({data, size});
  check(with_checksum({data, size}));
  return 0;
}
