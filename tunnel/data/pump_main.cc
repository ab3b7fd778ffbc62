// tunnel_pump: one data plane with static keys, for measuring what the packets' way costs, without sessions or signalling.
//   tunnel_pump TUN INNER_IP PEER_INNER_IP LOCAL_IP:PORT PEER_IP:PORT a|b SECONDS [MTU] [aes|chacha] [WORKERS]
// One end is a, the other b. The address of the TUN is the caller's to set (ip addr add). Prints one JSON line at the end.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tunnel/data/data_plane.h"

namespace {

using namespace tunnel;

DirectionKeys fixed_keys(AeadId id, uint8_t seed) {
  DirectionKeys k;
  k.key.assign(aead_key_bytes(id), seed);
  return k;
}

struct Options {
  DataPlane::Config plane;
  PeerRoute peer;
  DataKeysPtr keys;
  double seconds = 0;
};

bool parse(int argc, char** argv, Options& o) {
  if (argc < 8) return false;
  auto inner = base::IpAddr::parse(argv[2]), peer_inner = base::IpAddr::parse(argv[3]);
  auto local = base::IpPort::parse(argv[4]), remote = base::IpPort::parse(argv[5]);
  if (!inner || !peer_inner || !local || !remote) return false;
  bool a = argv[6][0] == 'a';
  o.seconds = atof(argv[7]);
  o.plane.tun = argv[1];
  o.plane.listen = {*local};
  o.plane.own = {base::Cidr::host(*inner)};
  o.plane.tun_mtu = o.peer.inner_mtu = uint16_t(argc > 8 ? atoi(argv[8]) : 1280);
  AeadId id = argc > 9 && !strcmp(argv[9], "chacha") ? AeadId::chacha20_poly1305 : AeadId::aes_128_gcm;
  if (argc > 10) o.plane.workers = size_t(atoi(argv[10]));
  auto k1 = fixed_keys(id, 1), k2 = fixed_keys(id, 2);
  o.keys = a ? DataKeys::make(id, k1, k2, 100, 200) : DataKeys::make(id, k2, k1, 200, 100);
  o.peer.name = "peer";
  o.peer.inner = {base::Cidr::host(*peer_inner)};
  o.peer.tx_keys = o.keys;
  o.peer.path.remote = *remote;
  return true;
}

void report(const char* tun, const PeerTraffic& t) {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  auto seconds = [](const timeval& v) { return double(v.tv_sec) + double(v.tv_usec) / 1e6; };
  printf("{\"tun\":\"%s\",\"cpu_s\":%.2f,\"user_s\":%.2f,\"rss_kib\":%ld,\"tx_bytes\":%llu,\"rx_bytes\":%llu,\"tx_packets\":%llu,\"rx_packets\":%llu}\n",
         tun, seconds(u.ru_utime) + seconds(u.ru_stime), seconds(u.ru_utime), u.ru_maxrss, (unsigned long long)t.tx_bytes_direct,
         (unsigned long long)t.rx_bytes_direct, (unsigned long long)t.tx_packets, (unsigned long long)t.rx_packets);
}

}  // namespace

int main(int argc, char** argv) {
  Options o;
  if (!parse(argc, argv, o))
    return fprintf(stderr, "usage: %s TUN INNER PEER_INNER LOCAL:PORT PEER:PORT a|b SECONDS [MTU] [aes|chacha] [WORKERS]\n", argv[0]), 2;
  auto loop = base::make_libevent_loop();
  base::SocketStore store;
  base::Metrics metrics;
  auto plane = DataPlane::start(o.plane, {}, *loop, store, metrics);
  if (!plane) return fprintf(stderr, "%s\n", plane.error().what.c_str()), 1;
  (*plane)->add_receive_keys(1, o.keys);
  (*plane)->set_peer(1, o.peer);
  auto end = loop->timer([&] { loop->stop(); });
  end->arm(base::Duration(int64_t(o.seconds * 1e9)));
  loop->run();
  report(argv[1], (*plane)->traffic(1));
  return 0;
}
