// flood: what strangers send to a port of ours. It knows the format of every packet and has seen real ones pass by; it has no keys.
//   flood record IFACE TARGET COUNT FILE       payloads of UDP datagrams to that address, as they cross the interface
//   flood send TARGET PORT FILE COUNT PPS NET   COUNT datagrams of all kinds, from 200 networks NET.0.0/24, NET.1.0/24, ...
// prints "ready" when it begins, and at the end "datagrams payload_bytes seconds". Needs CAP_NET_RAW: it chooses its source addresses.
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

using Bytes = std::vector<uint8_t>;
constexpr int kBatch = 64, kNetworks = 200;
constexpr size_t kRecordedMax = 2048, kStunBytes = 52, kBindBytes = 128, kConfirmBytes = 146;
constexpr double kRecordSeconds = 10;

[[noreturn]] static void die(const char* what) {
  perror(what);
  exit(1);
}

static double now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
}

static uint32_t address(const char* text) {
  in_addr a;
  if (inet_pton(AF_INET, text, &a) != 1) exit(2);
  return a.s_addr;
}

// ---- record

static int record(const char* iface, uint32_t target, size_t count, const char* path) {
  int s = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
  if (s < 0) die("packet socket");
  sockaddr_ll at{};
  at.sll_family = AF_PACKET;
  at.sll_protocol = htons(ETH_P_IP);
  at.sll_ifindex = int(if_nametoindex(iface));
  timeval patience{1, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (bind(s, reinterpret_cast<sockaddr*>(&at), sizeof at)) die(iface);
  FILE* out = fopen(path, "wb");
  if (!out) die(path);
  puts("ready");
  fflush(stdout);
  uint8_t b[65536];
  size_t n = 0;
  for (double end = now() + kRecordSeconds; n < count && now() < end;) {
    ssize_t got = recv(s, b, sizeof b, 0);
    auto* ip = reinterpret_cast<iphdr*>(b);
    if (got < 28 || ip->protocol != IPPROTO_UDP || ip->daddr != target) continue;
    size_t head = size_t(ip->ihl) * 4 + 8, size = size_t(got) - head;
    if (size == 0 || size > kRecordedMax) continue;  // joined ones are none that a stranger would see
    uint16_t length = uint16_t(size);
    fwrite(&length, sizeof length, 1, out);
    fwrite(b + head, 1, size, out);
    ++n;
  }
  fclose(out);
  printf("%zu\n", n);
  return n ? 0 : 1;
}

static std::vector<Bytes> recorded(const char* path) {
  FILE* f = fopen(path, "rb");
  if (!f) die(path);
  std::vector<Bytes> out;
  for (uint16_t n; fread(&n, sizeof n, 1, f) == 1;) {
    out.emplace_back(n);
    if (fread(out.back().data(), 1, n, f) != n) break;
  }
  fclose(f);
  if (out.empty()) {
    fprintf(stderr, "%s: no packet was recorded\n", path);
    exit(1);
  }
  return out;
}

// ---- the kinds

class Stranger {
 public:
  explicit Stranger(std::vector<Bytes> real) : real_(std::move(real)) {
    for (const Bytes& p : real_)
      if (p.size() >= 32 && p[0] == 0x80) sealed_.push_back(&p);
  }

  Bytes next(uint64_t i) {
    switch (i % 10) {
      case 0:
        return noise(1 + below(1400));
      case 1:
        return typed(kTypes[below(sizeof kTypes)], noise(1 + below(1400)));
      case 2:
        return truncated();
      case 3:
        return flipped();
      case 4:
        return under_known_keys(0x80);  // data
      case 5:
        return under_known_keys(i / 10 % 2 ? 0x84 : 0x85);  // a check, or an answer to one
      case 6:
        return under_known_keys(0x89);  // a control message
      case 7:
        return opening();
      case 8:
        return stun(i / 10 % 3 == 0);
      default:
        return relay_message();
    }
  }

 private:
  static constexpr uint8_t kTypes[] = {0x00, 0x01, 0x03, 0x40, 0x80, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0xc0, 0xff};

  uint32_t below(size_t n) { return uint32_t(uint64_t(uint32_t(rng_())) * n >> 32); }
  Bytes noise(size_t n) {
    Bytes b(n);
    for (size_t at = 0; at < n; at += 8) {
      uint64_t r = rng_();
      memcpy(b.data() + at, &r, std::min<size_t>(8, n - at));
    }
    return b;
  }
  static Bytes typed(uint8_t type, Bytes b) { return b[0] = type, b; }
  const Bytes& any() { return real_[below(real_.size())]; }
  Bytes truncated() {
    Bytes b = any();
    b.resize(1 + below(b.size() - 1));
    return b;
  }
  Bytes flipped() {
    Bytes b = any();
    for (uint32_t bits = 1 + below(3); bits > 0; --bits) b[below(b.size())] ^= uint8_t(1 << below(8));
    return b;
  }
  // The header of a real packet, so the receiver has keys for it; a counter it has not seen.
  Bytes under_known_keys(uint8_t type) {
    Bytes b = noise(32 + below(type == 0x80 ? 1300 : 300));
    b[0] = type;
    if (sealed_.empty()) return b;
    const Bytes& real = *sealed_[below(sealed_.size())];
    memcpy(b.data() + 1, real.data() + 1, 8);  // flags, index, lane
    if (type != 0x80) b[8] = 0;                // the control lane
    b[9] = b[10] = b[11] = b[12] = 0;
    return b;
  }
  // KNOCK, WELCOME, CALL or FRAME, with an id nobody knows.
  Bytes opening() {
    Bytes b = noise(48 + below(1100));
    b[0] = 0x87, b[1] = 1, b[2] = uint8_t(1 + below(4)), b[3] = 0;
    return b;
  }
  // A Binding request: 20 bytes, which no answer may exceed, or as long as an answer with FINGERPRINT, which a relay answers.
  Bytes stun(bool whole) {
    Bytes b = noise(whole ? kStunBytes : 20);
    const uint8_t head[] = {0, 1, 0, uint8_t(b.size() - 20), 0x21, 0x12, 0xa4, 0x42};
    memcpy(b.data(), head, sizeof head);
    if (!whole) return b;
    const uint8_t fill[] = {0x00, 0x26, 0, kStunBytes - 20 - 4 - 8}, print[] = {0x80, 0x28, 0, 4};
    memcpy(b.data() + 20, fill, sizeof fill);
    memcpy(b.data() + kStunBytes - 8, print, sizeof print);
    uint32_t crc = htonl(crc32(b.data(), kStunBytes - 8) ^ 0x5354554e);
    memcpy(b.data() + kStunBytes - 4, &crc, 4);
    return b;
  }
  static uint32_t crc32(const uint8_t* p, size_t n) {
    uint32_t c = ~uint32_t(0);
    for (size_t i = 0; i < n; ++i) {
      c ^= p[i];
      for (int k = 0; k < 8; ++k) c = c >> 1 ^ (c & 1 ? 0xedb88320 : 0);
    }
    return ~c;
  }
  // BIND, CHALLENGE, CONFIRM, CONFIRMED or REFUSED under a token nobody made; or a real packet for a channel nobody bound.
  Bytes relay_message() {
    static constexpr size_t kSizes[] = {kBindBytes, 47, kConfirmBytes, 67, 13};
    uint32_t kind = below(6);
    if (kind == 5) {
      Bytes b = noise(4);
      b[0] = 0x88;
      const Bytes& real = any();
      b.insert(b.end(), real.begin(), real.end());
      return b;
    }
    Bytes b = noise(kSizes[kind]);
    b[0] = 0x86, b[1] = uint8_t(kind + 1), b[2] = b[3] = 0;
    if (kind == 0) memset(b.data() + 98, 0, kBindBytes - 98);
    return b;
  }

  std::vector<Bytes> real_;
  std::vector<const Bytes*> sealed_;
  std::mt19937_64 rng_{4};
};

// ---- send

struct Packet {
  iphdr ip{};
  udphdr udp{};
  Bytes payload;

  void address(uint32_t from, uint16_t from_port, uint32_t to, uint16_t to_port) {
    ip.version = 4;
    ip.ihl = 5;
    ip.ttl = 64;
    ip.protocol = IPPROTO_UDP;
    ip.saddr = from;
    ip.daddr = to;
    ip.tot_len = htons(uint16_t(sizeof ip + sizeof udp + payload.size()));  // the kernel fills in the checksum
    udp.source = htons(from_port);
    udp.dest = htons(to_port);
    udp.len = htons(uint16_t(sizeof udp + payload.size()));
  }
};

static void wait_until(double t) {
  double left = t - now();
  if (left <= 0) return;
  timespec s{time_t(left), long((left - double(time_t(left))) * 1e9)};
  nanosleep(&s, nullptr);
}

static int flood(uint32_t target, uint16_t port, const char* file, uint64_t count, double pps, const std::string& net) {
  Stranger stranger(recorded(file));
  int s = socket(AF_INET, SOCK_RAW, IPPROTO_RAW), room = 8 << 20;
  if (s < 0) die("raw socket");
  setsockopt(s, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  const uint32_t first = ntohl(address((net + ".0.0").c_str()));
  std::vector<Packet> packets(kBatch);
  std::vector<iovec> parts(3 * kBatch);
  std::vector<mmsghdr> messages(kBatch);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = target;
  puts("ready");
  fflush(stdout);
  const double begun = now();
  uint64_t sent = 0, bytes = 0;
  while (sent < count) {
    int n = int(std::min<uint64_t>(kBatch, count - sent));
    for (int k = 0; k < n; ++k) {
      uint64_t i = sent + uint64_t(k);
      Packet& p = packets[size_t(k)];
      p.payload = stranger.next(i);
      bytes += p.payload.size();
      p.address(htonl(first + uint32_t(i % kNetworks) * 256 + 1 + uint32_t(i / kNetworks % 250)), uint16_t(1024 + i % 60000), target, port);
      iovec* v = &parts[size_t(3 * k)];
      v[0] = {&p.ip, sizeof p.ip};
      v[1] = {&p.udp, sizeof p.udp};
      v[2] = {p.payload.data(), p.payload.size()};
      messages[size_t(k)].msg_hdr = {&to, sizeof to, v, 3, nullptr, 0, 0};
    }
    for (int done = 0; done < n;) {
      int r = sendmmsg(s, &messages[size_t(done)], unsigned(n - done), 0);
      if (r < 0) die("send");
      done += r;
    }
    sent += uint64_t(n);
    wait_until(begun + double(sent) / pps);
  }
  printf("%llu %llu %.3f\n", (unsigned long long)sent, (unsigned long long)bytes, now() - begun);
  return 0;
}

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "record" && argc == 6) return record(argv[2], address(argv[3]), strtoul(argv[4], nullptr, 10), argv[5]);
  if (what == "send" && argc == 8)
    return flood(address(argv[2]), uint16_t(atoi(argv[3])), argv[4], strtoull(argv[5], nullptr, 10), atof(argv[6]), argv[7]);
  return fprintf(stderr, "flood record IFACE TARGET COUNT FILE | flood send TARGET PORT FILE COUNT PPS NET\n"), 2;
}
