// dns_serve FILE ADDR:PORT CONFIG [--upstream ADDR:PORT | tls://... | https://...]... [--ca FILE] [--commands]: the name server alone, on the objects and one configuration of a cases file
// (integration/conformance/dns/cases.json), or on a bare file of objects. Started by integration/dns-serve, which adds the upstream.
// With --commands lines on standard input change or ask:  {"kind": "services", "object": {...}}   {"ask": "figures"}  -> one line of JSON
#include <malloc.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/conf/dns_upstream.h"
#include "base/kube/json_objects.h"
#include "base/kube/table_builder.h"
#include "dns/server/dns_server.h"

using base::kube::Kind;
using Json = nlohmann::json;

// Counted, so that the answer path can be held to none.
static std::atomic<uint64_t> g_allocations{0};
void* operator new(size_t n) {
  g_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* p = std::malloc(n ? n : 1)) return p;
  std::abort();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace {

[[noreturn]] void die(const std::string& why) {
  fprintf(stderr, "dns-serve: %s\n", why.c_str());
  exit(2);
}

size_t heap() {
  auto m = mallinfo2();
  return m.uordblks + m.hblkhd;
}

uint64_t anonymous_kib() {
  std::ifstream in("/proc/self/status");
  std::string word;
  while (in >> word)
    if (word == "RssAnon:") return in >> word, std::stoull(word);
  return 0;
}

const std::pair<const char*, Kind> kKinds[] = {{"namespaces", Kind::namespace_}, {"nodes", Kind::node}, {"services", Kind::service}, {"endpointslices", Kind::endpoint_slice}};

class Serve {
 public:
  Serve(Json file, const std::string& config, base::IpPort at, const std::vector<dns::ServerAddress>& upstreams, const std::string& ca)
      : objects_(file.contains("objects") ? file["objects"] : file), config_(config_of(file, config)) {
    make_server(at, upstreams, ca);
    bool listed = config_.value("api", "") != "unreachable";
    builder_->on_change([this, listed](const base::kube::ServiceTablePtr& t, const base::kube::ServiceDiff& d) {
      if (!listed) return;
      size_t before = heap();
      server_->set_table(t, d);
      if (!zone_heap_) zone_heap_ = heap() - before;
    });
    load();
  }
  void run(bool commands) {
    if (commands) stdin_ = loop_->watch(STDIN_FILENO, base::kFdRead, [this](base::FdEvents) { on_input(); });
    loop_->run();
  }

 private:
  static Json config_of(const Json& file, const std::string& name) {
    if (!file.contains("configs")) return {{"pods", "insecure"}, {"ttl", 30}};
    if (!file["configs"].contains(name)) die("the file has no configuration " + name);
    return file["configs"][name];
  }

  void make_server(base::IpPort at, const std::vector<dns::ServerAddress>& upstreams, const std::string& ca) {
    dns::DnsConfig c;
    c.addresses = {at.ip};
    c.port = at.port;
    c.udp_payload_max = 4096;  // loopback: nothing fragments
    c.zone.ttl = config_.value("ttl", 5);
    std::string pods = config_.value("pods", "insecure");
    c.zone.pods = pods == "verified" ? dns::PodNames::verified : pods == "disabled" ? dns::PodNames::disabled : dns::PodNames::insecure;
    c.zone.ignore_empty_service = config_.value("ignore_empty_service", false);
    c.zone.no_endpoints = config_.value("noendpoints", false);
    c.zone.endpoint_pod_names = config_.value("endpoint_pod_names", false);
    c.zone.reverse_fallthrough = config_.contains("fallthrough");
    if (config_.contains("namespaces")) c.zone.namespaces = config_["namespaces"].get<std::vector<std::string>>();
    c.search_paths = config_.value("autopath", false);
    c.upstream.servers = upstreams;
    if (!ca.empty()) c.upstream.ca_file = ca;
    c.upstream.resolv_conf = "/nonexistent/resolv.conf";
    auto s = dns::DnsServer::start(*loop_, store_, rng_, metrics_, std::move(c), hooks());
    if (!s) die(s.error().what);
    server_ = std::move(*s);
  }

  dns::DnsHooks hooks() {
    dns::DnsHooks h;
    for (auto& p : objects_.value("pods", Json::array()))
      for (auto& a : p["status"].value("podIPs", Json::array()))
        if (auto ip = base::IpAddr::parse(a["ip"].get<std::string>())) pods_.insert({p["metadata"]["namespace"], *ip});
    h.pod_exists = [this](std::string_view ns, const base::IpAddr& ip) { return pods_.count({std::string(ns), ip}) > 0; };
    std::string client = config_.value("client_pod", "");  // every client is this pod
    client_namespace_ = client.substr(0, client.find('/'));
    h.search_namespace = [this](const base::IpAddr&) { return &client_namespace_; };
    return h;
  }

  base::kube::ObjectPtr object(Kind kind, const Json& j) {
    std::string text = j.dump();
    auto r = reader_.object(kind, text, "objects");
    if (!r.object) die(r.trouble);
    return r.object;
  }

  void load() {
    for (auto& [key, kind] : kKinds) {
      std::vector<base::kube::ObjectPtr> all;
      for (auto& j : objects_.value(key, Json::array())) all.push_back(object(kind, j));
      std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a->id < b->id; });
      builder_->replace(kind, {all.begin(), all.end()});
    }
    objects_ = Json();
    for (size_t k = 0; k < base::kube::kKinds; ++k) builder_->synced(Kind(k));
    builder_->publish_now();
  }

  void on_input() {
    uint64_t before = g_allocations;
    char b[65536];
    ssize_t n = ::read(STDIN_FILENO, b, sizeof b);
    if (n <= 0) return stdin_.reset();
    input_.append(b, size_t(n));
    for (size_t end; (end = input_.find('\n')) != input_.npos; input_.erase(0, end + 1)) command(Json::parse(input_.substr(0, end)), before);
    commands_took_ += g_allocations - before;
  }

  void command(const Json& j, uint64_t before) {
    if (j.contains("ask")) return figures(before - commands_took_);
    for (auto& [key, kind] : kKinds)
      if (j["kind"] == key) builder_->upsert(object(kind, j["object"]));
    builder_->publish_now();
  }

  // allocations: without those commands took.
  void figures(uint64_t allocations) {
    Json out = {{"allocations", allocations}, {"zone_bytes", server_->zone_bytes()}, {"zone_heap", zone_heap_}, {"anonymous_kib", anonymous_kib()}};
    printf("%s\n", out.dump().c_str());
    fflush(stdout);
  }

  Json objects_, config_;
  std::set<std::pair<std::string, base::IpAddr>> pods_;
  uint64_t commands_took_ = 0;
  size_t zone_heap_ = 0;  // what the first table took in the zone
  std::string client_namespace_, input_;
  base::kube::JsonReader reader_;
  std::unique_ptr<base::Loop> loop_ = base::make_libevent_loop();
  base::SocketStore store_;
  base::SystemRng rng_;
  base::Metrics metrics_;
  std::unique_ptr<base::kube::TableBuilder> builder_ = base::kube::make_service_table_builder(*loop_);
  std::unique_ptr<dns::DnsServer> server_;
  std::unique_ptr<base::FdWatch> stdin_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) die("FILE ADDR:PORT CONFIG [--upstream ADDR:PORT | tls://... | https://...]... [--ca FILE] [--commands]");
  auto at = base::IpPort::parse(argv[2]);
  if (!at) die(std::string(argv[2]) + " is no address with a port");
  std::vector<dns::ServerAddress> upstreams;
  std::string ca;
  bool commands = false;
  for (int i = 4; i < argc; i++) {
    if (std::string_view(argv[i]) == "--commands") commands = true;
    else if (std::string_view(argv[i]) == "--ca" && i + 1 < argc) ca = argv[++i];
    else if (auto u = base::conf::parse_dns_upstream(argv[i])) upstreams.emplace_back(dns::ServerAddress::Kind(u->kind), u->at, u->name, u->path);
  }
  Json file = Json::parse(std::ifstream(argv[1]), nullptr, false);
  if (file.is_discarded()) die(std::string(argv[1]) + " cannot be read as JSON");
  Serve(std::move(file), argv[3], *at, upstreams, ca).run(commands);
}
