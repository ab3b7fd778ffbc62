// nonces IFACE: what crosses the interface of the tunnel's sealed packets, until SIGTERM: how many, whether any counter came twice under
// one receiver index (a nonce used twice), and how many packets each lane of each index had. Then one object of JSON.
// The datagrams must come singly: an interface without UDP segmentation.
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <set>
#include <utility>
#include <vector>

constexpr size_t kHeaderBytes = 16, kRelayHeaderBytes = 4;
static volatile sig_atomic_t over = 0;

static uint64_t big_endian(const uint8_t* p, size_t n) {
  uint64_t v = 0;
  for (size_t i = 0; i < n; ++i) v = v << 8 | p[i];
  return v;
}

int main(int argc, char** argv) {
  if (argc != 2) return fprintf(stderr, "nonces IFACE\n"), 2;
  struct sigaction end{};
  end.sa_handler = [](int) { over = 1; };
  sigaction(SIGTERM, &end, nullptr);
  int s = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL)), room = 64 << 20;
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_ALL);
  at.sll_ifindex = int(if_nametoindex(argv[1]));
  setsockopt(s, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  if (s < 0 || bind(s, reinterpret_cast<sockaddr*>(&at), sizeof at)) return perror(argv[1]), 1;
  puts("ready");
  fflush(stdout);
  std::vector<std::pair<uint32_t, uint64_t>> seen;
  uint64_t joined = 0;
  static uint8_t b[65536];
  while (!over) {
    ssize_t n = recv(s, b, sizeof b, 0);
    auto* ip = reinterpret_cast<iphdr*>(b);
    size_t head = size_t(ip->ihl) * 4 + 8;
    if (n < ssize_t(head) || ip->version != 4 || ip->protocol != IPPROTO_UDP) continue;
    const uint8_t* p = b + head;
    size_t size = size_t(n) - head;
    if (size > 1600) ++joined;
    if (size >= kRelayHeaderBytes && p[0] == 0x88) p += kRelayHeaderBytes, size -= kRelayHeaderBytes;
    if (size < 2 * kHeaderBytes || (p[0] != 0x80 && p[0] != 0x84 && p[0] != 0x85 && p[0] != 0x89)) continue;
    seen.emplace_back(uint32_t(big_endian(p + 4, 4)), big_endian(p + 8, 8));
  }
  std::sort(seen.begin(), seen.end());
  uint64_t twice = 0;
  std::map<uint32_t, std::map<unsigned, uint64_t>> lanes;
  for (size_t i = 0; i < seen.size(); ++i) {
    twice += i > 0 && seen[i] == seen[i - 1];
    ++lanes[seen[i].first][unsigned(seen[i].second >> 56)];
  }
  printf("{\"packets\": %zu, \"joined\": %llu, \"twice\": %llu, \"indices\": [", seen.size(), (unsigned long long)joined,
         (unsigned long long)twice);
  const char* between = "";
  for (auto& [index, counts] : lanes) {
    printf("%s{", between);
    const char* comma = "";
    for (auto& [lane, n] : counts) printf("%s\"%u\": %llu", comma, lane, (unsigned long long)n), comma = ", ";
    printf("}");
    between = ", ";
  }
  puts("]}");
}
