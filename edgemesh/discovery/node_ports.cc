#include "edgemesh/discovery/node_ports.h"

namespace edgemesh {

using namespace std::chrono_literals;
static constexpr auto kLinger = 30s;

static tunnel::ExportRequest request_for(uint16_t port) {
  return {std::string(kNodePortService), base::Proto::tcp, {base::IpAddr(), port}};
}

void NodePorts::open(const std::string& node, uint16_t port, std::function<void(base::Result<Open>)> done) {
  const Key key{node, port};
  hooks_.request_export(node, request_for(port), [this, self = self_, key, held = hold(key), done](base::Result<tunnel::ExportGrant> r) {
    if (!*self) return;
    if (!r) return done(tl::unexpected(r.error()));
    ports_[key].granted = true;
    done(Open{r->at, held});
  });
}

std::shared_ptr<void> NodePorts::hold(const Key& key) {
  Port& p = ports_[key];
  p.holders++;
  p.linger.reset();
  return {nullptr, [self = self_, key](void*) {
            if (*self) (*self)->let_go(key);
          }};
}

void NodePorts::let_go(const Key& key) {
  Port& p = ports_[key];
  if (--p.holders > 0) return;
  if (!p.granted) return give_back(key);
  p.linger = loop_.timer([this, key] { give_back(key); });
  p.linger->arm(kLinger);
}

void NodePorts::give_back(const Key& key) {
  ports_.erase(key);
  hooks_.release_export(key.first, request_for(key.second));
}

}  // namespace edgemesh
