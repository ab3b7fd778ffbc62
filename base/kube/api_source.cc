#include "base/kube/api_source.h"

#include <algorithm>

#include "base/kube/kind_watch.h"

namespace base::kube {
namespace {

constexpr Duration kHoldEmpty = 30s;

const std::string kGatewayApi = "/apis/gateway.networking.k8s.io/";

std::vector<std::string> istio(const std::string& resource) {
  std::vector<std::string> out;
  for (const char* version : {"v1", "v1beta1", "v1alpha3"})
    out.push_back(std::string("/apis/networking.istio.io/") + version + "/" + resource);
  return out;
}

std::vector<std::string> paths_of(Kind k) {
  switch (k) {
    case Kind::namespace_: return {"/api/v1/namespaces"};
    case Kind::node: return {"/api/v1/nodes"};
    case Kind::service: return {"/api/v1/services"};
    case Kind::endpoints: return {"/api/v1/endpoints"};
    case Kind::endpoint_slice: return {"/apis/discovery.k8s.io/v1/endpointslices", "/apis/discovery.k8s.io/v1beta1/endpointslices"};
    case Kind::destination_rule:
      return istio("destinationrules");
    case Kind::mesh_node: return {"/apis/mesh.edgemeshd.io/v1alpha1/meshnodes"};
    case Kind::pod:
      return {"/api/v1/pods"};
    case Kind::service_entry:
      return istio("serviceentries");
    case Kind::istio_gateway:
      return istio("gateways");
    case Kind::virtual_service:
      return istio("virtualservices");
    case Kind::gateway:
      return {kGatewayApi + "v1/gateways", kGatewayApi + "v1beta1/gateways"};
    case Kind::http_route:
      return {kGatewayApi + "v1/httproutes", kGatewayApi + "v1beta1/httproutes"};
  }
  return {};
}

bool is_host_kind(Kind k) { return std::ranges::find(kHostKinds, k) != std::end(kHostKinds); }
bool may_be_absent(Kind k) { return k == Kind::endpoint_slice || k == Kind::destination_rule || k == Kind::mesh_node || is_host_kind(k); }
bool never_empty(Kind k) { return k == Kind::namespace_ || k == Kind::node || k == Kind::service || k == Kind::endpoints; }

class ApiSource final : public ObjectSource {
 public:
  ApiSource(Loop& loop, Rng& rng, Metrics& metrics, std::unique_ptr<ApiClient> client, bool meta_server, std::string node)
      : loop_(loop), rng_(rng), metrics_(metrics), client_(std::move(client)), meta_server_(meta_server), node_(std::move(node)) {}

  void start(ObjectSink& sink) override {
    sink_ = &sink;
    for (size_t k = 0; k < kKinds; ++k) {
      const Kind kind = Kind(k);
      if (is_host_kind(kind)) start_optional(kind, hosts_);
      else if (kind != Kind::pod && (kind != Kind::endpoints || meta_server_)) follow(kind);
    }
    start_optional(Kind::pod, pods_);
  }

  void follow_pods(bool wanted) override {
    pods_ = wanted;
    choose(Kind::pod, wanted);
  }
  void follow_hosts(bool wanted) override {
    hosts_ = wanted;
    for (Kind k : kHostKinds) choose(k, wanted);
  }

  std::vector<std::string> problems() const override {
    std::vector<std::string> out;
    for (const auto& w : watches_)
      for (const std::string& line : w ? w->problems() : std::vector<std::string>{})
        if (std::find(out.begin(), out.end(), line) == out.end()) out.push_back(line);
    return out;
  }

 private:
  void start_optional(Kind k, bool wanted) {
    if (!wanted) return tell_list(k, {});
    synced_[size_t(k)] = true;  // nothing waits for them
    sink_->synced(k);
    follow(k);
  }
  void choose(Kind k, bool wanted) {
    auto& watch = watches_[size_t(k)];
    if (!sink_ || wanted == (watch != nullptr)) return;
    if (wanted) return follow(k);
    watch.reset();
    tell_list(k, {});
  }
  void follow(Kind k) {
    KindWatch::Config c{.kind = k, .paths = paths_of(k), .meta_server = meta_server_, .may_be_absent = may_be_absent(k)};
    if (meta_server_) c.hold_empty = kHoldEmpty;
    c.never_empty = never_empty(k);
    if (k == Kind::pod && !meta_server_ && !node_.empty()) c.query = "fieldSelector=spec.nodeName%3D" + node_;
    watches_[size_t(k)] = std::make_unique<KindWatch>(loop_, rng_, *client_, std::move(c), hooks(k), counters(k));
  }

  KindWatch::Hooks hooks(Kind k) {
    return {.on_list = [this, k](std::vector<PackedObject> all) { on_list(k, std::move(all)); },
            .on_upsert = [this](PackedObject o) { sink_->upsert(std::move(o)); },
            .on_remove = [this, k](const ObjectName& id) { sink_->remove(k, id); },
            .on_absent = [this, k] { on_absent(k); },
            .on_error = [this, k](const std::string& line) { on_error(k, line); },
            .on_answer = [this, k] { on_answer(k); }};
  }

  KindWatch::Counters counters(Kind k) {
    const Labels kind{{"kind", k == Kind::istio_gateway ? "IstioGateway" : to_string(k)}};  // two kinds are called Gateway
    return {.lists = metrics_.counter("edgemeshd_source_lists_total", "Whole lists read from the API server, by kind.", kind),
            .events = metrics_.counter("edgemeshd_source_events_total", "Changes told by watches of the API server, by kind.", kind),
            .failures = metrics_.counter("edgemeshd_source_failures_total", "Requests to the API server that failed or were refused, by kind.", kind),
            .bad_objects = metrics_.counter("edgemeshd_source_bad_objects_total", "Objects from the API server that could not be read and were left out, by kind.", kind),
            .bytes = metrics_.counter("edgemeshd_source_bytes_total", "Bytes of answers read from the API server, by kind.", kind),
            .watching = metrics_.gauge("edgemeshd_source_watching", "Whether changes are being followed right now, by kind.", kind)};
  }

  void on_list(Kind k, std::vector<PackedObject> all) {
    if (k == Kind::endpoint_slice && !meta_server_) drop_endpoints();
    tell_list(k, std::move(all));
  }

  void on_absent(Kind k) {
    tell_list(k, {});
    if (k == Kind::endpoint_slice && !watches_[size_t(Kind::endpoints)]) follow(Kind::endpoints);
  }

  void drop_endpoints() {
    const bool had = std::exchange(watches_[size_t(Kind::endpoints)], nullptr) != nullptr;
    if (had || !synced_[size_t(Kind::endpoints)]) tell_list(Kind::endpoints, {});
  }

  void tell_list(Kind k, std::vector<PackedObject> all) {
    sink_->replace(k, std::move(all));
    if (!std::exchange(synced_[size_t(k)], true)) sink_->synced(k);
  }

  // An unreachable server is one trouble, not one per kind.
  void on_error(Kind k, const std::string& line) {
    for (size_t other = 0; other < kKinds; ++other)
      if (other != size_t(k) && watches_[other] && watches_[other]->trouble() == line) return;
    sink_->error(line);
  }

  // So that no kind sits out its own back-off, half a minute in the end, beside others that are served.
  void on_answer(Kind k) {
    for (size_t other = 0; other < kKinds; ++other)
      if (other != size_t(k) && watches_[other]) watches_[other]->server_answers();
  }

  Loop& loop_;
  Rng& rng_;
  Metrics& metrics_;
  std::unique_ptr<ApiClient> client_;
  bool meta_server_, pods_ = false, hosts_ = false;
  std::string node_;  // whose pods are followed
  ObjectSink* sink_ = nullptr;
  bool synced_[kKinds] = {};
  std::unique_ptr<KindWatch> watches_[kKinds];  // before client_ in destruction
};

}  // namespace

std::unique_ptr<ObjectSource> make_api_source(Loop& loop, Rng& rng, Metrics& metrics, std::unique_ptr<ApiClient> client, bool meta_server,
                                              std::string node) {
  return std::make_unique<ApiSource>(loop, rng, metrics, std::move(client), meta_server, std::move(node));
}

}  // namespace base::kube
