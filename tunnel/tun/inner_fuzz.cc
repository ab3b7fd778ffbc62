// Inner packets. Odd first byte: what the kernel hands over (vnet header 10, packet) is cut into segments; each is a packet of
// its own, no longer than announced, and the payloads add up. Even: a list of packets (length 2) as a peer may send them goes
// through the coalescer; nothing gets lost or grows but by what is joined.
#include <memory>

#include "base/core/assert.h"
#include "tunnel/tun/coalesce.h"
#include "tunnel/tun/segment.h"

using namespace tunnel;

namespace {

using Packets = std::vector<std::unique_ptr<uint8_t[]>>;

void join(std::vector<base::MutByteView> packets) {
  size_t in = 0, out = 0, in_count = 0, out_count = 0;
  Coalescer c([&](iovec* parts, size_t n) {
    EM_ASSERT(n >= 2 && parts[0].iov_len == kVnetBytes);
    base::ByteVec whole;
    for (size_t i = 1; i < n; i++) whole.insert(whole.end(), static_cast<uint8_t*>(parts[i].iov_base), static_cast<uint8_t*>(parts[i].iov_base) + parts[i].iov_len);
    EM_ASSERT(parse_ip(whole));
    out += whole.size();
    out_count++;
  }, {.udp = true});
  for (auto p : packets) {
    auto ip = parse_ip(p);
    if (!ip) continue;
    in += p.size();
    in_count++;
    c.add(p, *ip, p.size() & 1);
  }
  c.flush();
  EM_ASSERT(out <= in && out_count <= in_count && (in_count == 0) == (out_count == 0));
}

void cut(base::ByteView b) {
  VnetHeader v;
  if (b.size() < kVnetBytes) return;
  memcpy(&v, b.data(), kVnetBytes);
  base::ByteVec packet(b.begin() + kVnetBytes, b.end());
  Segmenter s;
  if (!s.begin(v, packet)) return;
  Packets memory;
  std::vector<base::MutByteView> segments;
  size_t total = 0;
  while (size_t n = s.next_bytes()) {
    EM_ASSERT(n <= s.bytes_max() || segments.empty());
    memory.push_back(std::make_unique<uint8_t[]>(n));  // to the byte, so that one more is seen
    s.write(memory.back().get());
    segments.push_back({memory.back().get(), n});
    EM_ASSERT(parse_ip(segments.back()));
    total += n;
    EM_ASSERT(segments.size() <= 65536);
  }
  EM_ASSERT(total >= packet.size());
  join(segments);
}

void join_list(base::ByteView b) {
  base::Reader r(b);
  Packets memory;
  std::vector<base::MutByteView> packets;
  while (r.left() > 2 && packets.size() < 200) {
    auto view = r.take(std::min<size_t>(r.u16(), r.left()));
    memory.push_back(std::make_unique<uint8_t[]>(view.size()));
    std::copy(view.begin(), view.end(), memory.back().get());
    base::MutByteView p{memory.back().get(), view.size()};
    if (parse_ip(p)) (void)mark_congestion(p);
    packets.push_back(p);
  }
  join(packets);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  if (data[0] & 1) cut({data + 1, size - 1});
  else join_list({data + 1, size - 1});
  return 0;
}
