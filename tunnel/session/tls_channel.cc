#include "tunnel/session/tls_channel.h"

#include <algorithm>

namespace tunnel {
namespace {

constexpr const char* kSessionAlpn = "edgemesh-session/2";  // 1 had no name: no packets behind the handshake's messages

class TlsChannel final : public SecureChannel {
 public:
  TlsChannel(std::shared_ptr<const base::TlsContext> context, bool client, base::WallTime at, std::string trust_domain)
      : engine_(std::move(context), client ? base::TlsRole::client : base::TlsRole::server, at), client_(client), trust_domain_(std::move(trust_domain)) {}

  base::Result<void> start() override { return client_ ? engine_.start() : base::Result<void>{}; }
  base::Result<void> feed(base::ByteView b) override { return engine_.feed(b, plain_); }
  base::ByteVec take_output() override { return take(engine_.output()); }
  bool established() const override { return engine_.handshake_done(); }
  base::Result<base::NodeIdentity> peer() const override { return base::parse_node_identity(engine_.peer_leaf(), trust_domain_); }
  Digest peer_leaf() const override { return base::sha256(engine_.peer_leaf()); }
  base::Result<void> write(base::ByteView b) override { return engine_.write(b); }
  base::ByteVec take_read() override { return take(plain_); }
  bool takes_packets() const override { return engine_.alpn() == kSessionAlpn; }
  base::Result<Digest> exporter(std::string_view label, base::ByteView context) override {
    Digest out;
    EM_TRY_ASSIGN(base::ByteVec secret, engine_.export_keying_material(label, context, out.size()));
    std::copy(secret.begin(), secret.end(), out.begin());
    base::secure_zero(secret.data(), secret.size());
    return out;
  }

 private:
  static base::ByteVec take(base::Buffer& b) {
    base::ByteVec out(b.view().begin(), b.view().end());
    b.clear();
    return out;
  }
  base::TlsEngine engine_;
  bool client_;
  std::string trust_domain_;
  base::Buffer plain_;
};

}  // namespace

base::Result<TlsChannelFactory> TlsChannelFactory::make(const Pem& pem, std::string trust_domain, std::function<base::WallTime()> trust_time,
                                                          base::DateRules dates) {
  base::TlsConfig c;
  c.certificate_pem = pem.certificate;
  c.key_pem = pem.key;
  c.ca_pem = pem.ca;
  c.not_before_slack = std::chrono::hours(24);
  c.dates = std::move(dates);
  c.alpn = {kSessionAlpn};
  c.verify = [trust_domain](base::ByteView leaf) -> base::Result<void> {
    EM_TRY(base::parse_node_identity(leaf, trust_domain));
    return {};
  };
  EM_TRY_ASSIGN(auto context, base::TlsContext::make(std::move(c)));
  TlsChannelFactory f;
  f.context_ = std::move(context);
  f.trust_domain_ = std::move(trust_domain);
  f.trust_time_ = std::move(trust_time);
  return f;
}

std::unique_ptr<SecureChannel> TlsChannelFactory::channel(bool client) const {
  return std::make_unique<TlsChannel>(context_, client, trust_time_(), trust_domain_);
}

}  // namespace tunnel
