#include "edgemesh/intercept/packed_frontend.h"

#include "base/core/bytes.h"

namespace edgemesh::detail {

static constexpr uint8_t kHere = 0x80;

// mode and policy (one byte each), affinity in seconds + 1 (8), then per backend: 4 or 6 (+ 128: here), address, port, weight
base::SharedBytes pack(const Frontend& f) {
  base::ByteVec out;
  base::Writer w(out);
  w.u8(uint8_t(f.mode));
  w.u8(uint8_t(f.policy));
  w.u64(f.affinity ? uint64_t(f.affinity->count()) + 1 : 0);
  for (const Backend& b : f.backends) {
    w.u8(uint8_t((b.ip.is_v4() ? 4 : 6) | (b.here ? kHere : 0)));
    w.put(b.ip.bytes());
    w.u16(b.port);
    w.u32(b.weight);
  }
  return base::SharedBytes(base::as_text(out));
}

Frontend unpack(const base::SharedBytes& packed) {
  base::Reader r(base::as_bytes(packed.view()));
  Frontend f;
  f.mode = Frontend::Mode(r.u8());
  f.policy = Frontend::Policy(r.u8());
  if (const uint64_t affinity = r.u64()) f.affinity = std::chrono::seconds(affinity - 1);
  while (r.ok() && r.left()) {
    const uint8_t kind = r.u8();
    const bool v4 = (kind & ~kHere) == 4;
    const base::ByteView address = r.take(v4 ? 4 : 16);
    if (!r.ok()) break;
    Backend b;
    b.ip = v4 ? base::IpAddr::v4(address.data()) : base::IpAddr::v6(address.data());
    b.here = kind & kHere;
    b.port = r.u16();
    b.weight = r.u32();
    f.backends.push_back(b);
  }
  EM_ASSERT(r.at_end());
  return f;
}

}  // namespace edgemesh::detail
