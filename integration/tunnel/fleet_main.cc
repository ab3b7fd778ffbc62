// tunnel_fleet CA RELAY:PORT TARGET COUNT SECONDS TRUST_DOMAIN: so many clients in one process, each with a certificate, a signalling
// connection and a socket of its own, and the same code as a node's but no device. Each makes a session with node TARGET over the relay and
// nothing but the relay, and pings it once a second. When all have their session, or after 60 seconds, it says so ("up N seconds"), pings
// on for SECONDS, and prints "pings N answered N p50_ms p99_ms".
#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "base/core/file.h"
#include "base/core/wall_clock.h"
#include "cloud/ca/cert_builder.h"
#include "integration/tunnel/fleet_data.h"
#include "tunnel/peer/mesh_node.h"
#include "tunnel/session/tls_channel.h"
#include "tunnel/signal/h2_signal.h"

namespace tunnel {
namespace {
using namespace std::chrono_literals;

constexpr base::Duration kBetweenClients = 4ms, kPingEvery = 1s, kUpWithin = 60s;
constexpr size_t kPemBytesMax = 64 << 10;

struct Authority {
  std::string root_pem, intermediate_pem;
  bssl::UniquePtr<X509> cert;
  bssl::UniquePtr<EVP_PKEY> key;
  std::string trust_domain;

  static base::Result<Authority> load(const std::string& dir, std::string trust_domain) {
    Authority a;
    a.trust_domain = std::move(trust_domain);
    EM_TRY_ASSIGN(a.root_pem, base::read_file(dir + "/ca.crt", kPemBytesMax));
    EM_TRY_ASSIGN(a.intermediate_pem, base::read_file(dir + "/node-ca.crt", kPemBytesMax));
    EM_TRY_ASSIGN(std::string key, base::read_file(dir + "/node-ca.key", kPemBytesMax));
    EM_TRY_ASSIGN(auto ders, base::certificates_from_pem(a.intermediate_pem, dir + "/node-ca.crt"));
    a.cert = base::x509_from_der(ders[0]);
    a.key = base::private_key_from_pem(key);
    return a;
  }
};

struct Fleet {
  base::Loop& loop;
  base::Rng& rng;
  base::Metrics& metrics;
  base::IpPort relay;
  std::string target;
  base::DatagramReader reader{16, 2048};
  size_t pings = 0, answered = 0;
  std::vector<double> ms;
};

class Client {
 public:
  static base::Result<std::unique_ptr<Client>> make(Fleet& f, const Authority& ca, size_t number) {
    std::unique_ptr<Client> c(new Client(f));
    auto now = base::wall_now();
    cloud::LeafSpec spec{ca.trust_domain, fmt::format("client-{}", number), {base::IpAddr::v4(0x64500000u + uint32_t(number))}, {}, {}};
    EM_TRY_ASSIGN(auto key, cloud::new_p256_key());
    EM_TRY_ASSIGN(auto cert, cloud::build_node_leaf(key.get(), {ca.cert.get(), ca.key.get()}, spec,
                                                    {{now.unix_seconds - 300}, {now.unix_seconds + 86400}}, f.rng));
    EM_TRY_ASSIGN(std::string key_pem, cloud::pem_of(key.get()));
    std::string chain = cloud::pem_of(cert.get()) + ca.intermediate_pem;
    base::ByteVec der = base::der_of(cert.get());
    auto clock = [] { return base::wall_now(); };

    EM_TRY_ASSIGN(auto tls, TlsIdentity::make({chain, key_pem, ca.root_pem}, clock, {}));
    H2Signal::Config s;
    s.tls = std::move(tls);
    s.instance = f.rng.u64();
    c->signal_ = H2Signal::make(std::move(s), f.loop, f.rng, f.metrics, {});
    EM_TRY_ASSIGN(auto channels, TlsChannelFactory::make({chain, key_pem, ca.root_pem}, ca.trust_domain, clock));

    MeshNode::Config m;
    EM_TRY_ASSIGN(m.node.identity, base::parse_node_identity(der, ca.trust_domain));
    m.node.leaf = base::sha256(der);
    m.node.direct = false;
    m.node.make_channel = [channels](bool client, const std::string&) { return channels.channel(client); };
    m.node.accept = [](const base::NodeIdentity&) { return base::Result<void>(); };
    c->mesh_ = std::make_unique<MeshNode>(std::move(m), MeshNode::Hooks{}, f.loop, f.rng, f.metrics, *c->signal_);
    DataPlaneHooks hooks;
    hooks.on_control = [p = c->mesh_.get()](const PathAddr& from, base::ByteVec b) { p->on_control(from, b); };
    hooks.on_first_data = [p = c->mesh_.get()](uint32_t index) { p->on_first_data(index); };
    EM_TRY_ASSIGN(c->data_, FleetData::open(f.loop, f.reader, std::move(hooks)));
    c->mesh_->attach(c->data_.get());
    c->mesh_->set_peers({PeerHint{.name = f.target}});
    c->signal_->set_relays({{"", f.relay}});
    c->timer_ = f.loop.timer([p = c.get()] { p->ping(); });
    c->timer_->arm(0s);
    return c;
  }
  ~Client() {
    if (mesh_) mesh_->attach(nullptr);
  }

  bool is_up() const {
    auto peers = mesh_->peers();
    return std::any_of(peers.begin(), peers.end(), [](const PeerView& v) { return v.state == "up"; });
  }
  void count(bool on) { counts_ = on; }

 private:
  explicit Client(Fleet& f) : fleet_(f) {}
  void ping() {
    timer_->arm(kPingEvery);
    if (!counts_) return mesh_->connect(fleet_.target);
    fleet_.pings++;
    mesh_->ping(fleet_.target, [this](base::Result<std::chrono::nanoseconds> rtt, const std::string&) {
      if (!rtt) return;
      fleet_.answered++;
      fleet_.ms.push_back(double(rtt->count()) / 1e6);
    });
  }

  Fleet& fleet_;
  bool counts_ = false;
  std::unique_ptr<H2Signal> signal_;
  std::unique_ptr<FleetData> data_;
  std::unique_ptr<MeshNode> mesh_;
  std::unique_ptr<base::Timer> timer_;
};

class Run {
 public:
  Run(Fleet& f, const Authority& ca, size_t count, double seconds)
      : fleet_(f), ca_(ca), count_(count), seconds_(seconds), began_(f.loop.now()), step_(f.loop.timer([this] { step(); })) {
    step_->arm(0s);
  }

 private:
  void step() {
    if (clients_.size() < count_) {
      auto c = Client::make(fleet_, ca_, clients_.size() + 1);
      if (!c) {
        fprintf(stderr, "client %zu: %s\n", clients_.size() + 1, c.error().what.c_str());
        exit(1);
      }
      clients_.push_back(std::move(*c));
      return step_->arm(kBetweenClients);
    }
    auto up = size_t(std::count_if(clients_.begin(), clients_.end(), [](const auto& c) { return c->is_up(); }));
    if (up < count_ && fleet_.loop.now() - began_ < kUpWithin) return step_->arm(200ms);
    printf("up %zu %.2f\n", up, std::chrono::duration<double>(fleet_.loop.now() - began_).count());
    fflush(stdout);
    for (auto& c : clients_) c->count(true);
    end_ = fleet_.loop.timer([this] { end(); });
    end_->arm(std::chrono::duration_cast<base::Duration>(std::chrono::duration<double>(seconds_)));
  }
  void end() {
    for (auto& c : clients_) c->count(false);
    last_ = fleet_.loop.timer([this] {  // what is under way: a ping gives up after 5 s
      auto& ms = fleet_.ms;
      std::sort(ms.begin(), ms.end());
      printf("pings %zu answered %zu %.2f %.2f\n", fleet_.pings, fleet_.answered, ms.empty() ? 0 : ms[ms.size() / 2],
             ms.empty() ? 0 : ms[ms.size() * 99 / 100]);
      fflush(stdout);
      _Exit(0);
    });
    last_->arm(2s);
  }

  Fleet& fleet_;
  const Authority& ca_;
  size_t count_;
  double seconds_;
  base::Instant began_;
  std::unique_ptr<base::Timer> step_, end_, last_;
  std::vector<std::unique_ptr<Client>> clients_;
};

int run(char** argv) {
  signal(SIGPIPE, SIG_IGN);
  rlimit files{65536, 65536};
  setrlimit(RLIMIT_NOFILE, &files);
  base::set_log_level(base::LogLevel::error);
  auto ca = Authority::load(argv[1], argv[6]);
  auto relay = base::IpPort::parse(argv[2]);
  auto loop = base::open_libevent_loop();
  if (!ca || !relay || !loop) {
    fprintf(stderr, "%s\n", !ca ? ca.error().what.c_str() : !relay ? "RELAY is no address:port" : loop.error().what.c_str());
    return 1;
  }
  base::SystemRng rng;
  base::Metrics metrics;
  Fleet fleet{**loop, rng, metrics, *relay, argv[3]};
  Run all(fleet, *ca, size_t(atoi(argv[4])), atof(argv[5]));
  (*loop)->run();
  return 0;
}

}  // namespace
}  // namespace tunnel

int main(int argc, char** argv) {
  if (argc != 7) return fprintf(stderr, "tunnel_fleet CA RELAY:PORT TARGET COUNT SECONDS TRUST_DOMAIN\n"), 2;
  return tunnel::run(argv);
}
