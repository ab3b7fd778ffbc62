#include "tunnel/session/sim_channel.h"

#include <openssl/digest.h>
#include <openssl/hmac.h>

#include <algorithm>

namespace tunnel {
namespace {

// Frame: type 1 | length 4 | bytes. hello = nonce 16 | name 1+n | trust domain 1+n | count 1 | (4|16 bytes of address, 1+n)*
enum Frame : uint8_t { kHello = 1, kFinished = 2, kData = 3 };

void text(base::Writer& w, base::ByteView b) {
  w.u8(uint8_t(b.size()));
  w.put(b);
}

base::ByteVec identity_bytes(const base::NodeIdentity& id) {
  base::ByteVec out;
  base::Writer w(out);
  text(w, base::as_bytes(id.name));
  text(w, base::as_bytes(id.trust_domain));
  w.u8(uint8_t(id.overlay_ips.size()));
  for (const auto& ip : id.overlay_ips) text(w, ip.bytes());
  return out;
}

base::NodeIdentity identity_of(base::Reader& r) {
  base::NodeIdentity id;
  id.name = base::as_text(r.take(r.u8()));
  id.trust_domain = base::as_text(r.take(r.u8()));
  for (int n = r.u8(); n > 0 && r.ok(); n--) {
    auto b = r.take(r.u8());
    if (b.size() == 4) id.overlay_ips.push_back(base::IpAddr::v4(b.data()));
    if (b.size() == 16) id.overlay_ips.push_back(base::IpAddr::v6(b.data()));
  }
  id.spki_sha256 = base::sha256(base::as_bytes(id.name));
  return id;
}

class SimChannel final : public SecureChannel {
 public:
  SimChannel(bool client, base::NodeIdentity own, base::Rng& rng) : client_(client), own_(std::move(own)) { rng.fill(nonce_); }

  base::Result<void> start() override {
    if (client_) send_hello();
    return {};
  }
  base::Result<void> feed(base::ByteView b) override {
    in_.insert(in_.end(), b.begin(), b.end());
    for (;;) {
      base::Reader r(in_);
      uint8_t type = r.u8();
      uint32_t n = r.u32();
      base::ByteView body = r.take(n);
      if (!r.ok()) return {};
      EM_TRY(on_frame(type, body));
      in_.erase(in_.begin(), in_.begin() + long(r.position()));
    }
  }
  base::ByteVec take_output() override { return std::exchange(out_, {}); }
  bool established() const override { return established_; }
  base::Result<base::NodeIdentity> peer() const override { return peer_; }
  Digest peer_leaf() const override { return sim_leaf(peer_); }
  base::Result<void> write(base::ByteView b) override {
    frame(kData, b);
    return {};
  }
  base::ByteVec take_read() override { return std::exchange(read_, {}); }
  bool takes_packets() const override { return true; }
  base::Result<Digest> exporter(std::string_view label, base::ByteView context) override {
    base::ByteVec text(label.begin(), label.end());
    text.insert(text.end(), context.begin(), context.end());
    Digest out;
    unsigned n = 0;
    HMAC(EVP_sha256(), secret_.data(), secret_.size(), text.data(), text.size(), out.data(), &n);
    return out;
  }

 private:
  void frame(uint8_t type, base::ByteView b) {
    base::Writer w(out_);
    w.u8(type);
    w.u32(uint32_t(b.size()));
    w.put(b);
  }
  void send_hello() {
    base::ByteVec b(nonce_.begin(), nonce_.end());
    auto id = identity_bytes(own_);
    b.insert(b.end(), id.begin(), id.end());
    frame(kHello, b);
  }
  base::Result<void> on_frame(uint8_t type, base::ByteView body) {
    if (type == kHello) return on_hello(body);
    if (type == kFinished && !client_) established_ = true;
    if (type == kData) read_.insert(read_.end(), body.begin(), body.end());
    return {};
  }
  base::Result<void> on_hello(base::ByteView body) {
    base::Reader r(body);
    auto nonce = r.take(16);
    peer_ = identity_of(r);
    if (!r.ok()) return base::fail(base::Code::invalid, "malformed hello");
    base::ByteVec both;
    auto add = [&](base::ByteView n) { both.insert(both.end(), n.begin(), n.end()); };
    add(client_ ? base::ByteView(nonce_) : nonce);
    add(client_ ? nonce : base::ByteView(nonce_));
    secret_ = base::sha256(both);
    if (!client_) return send_hello(), base::Result<void>{};
    frame(kFinished, {});
    established_ = true;
    return {};
  }

  bool client_;
  base::NodeIdentity own_, peer_;
  std::array<uint8_t, 16> nonce_{};
  Digest secret_{};
  bool established_ = false;
  base::ByteVec in_, out_, read_;
};

}  // namespace

Digest sim_leaf(const base::NodeIdentity& id) { return base::sha256(identity_bytes(id)); }

std::unique_ptr<SecureChannel> make_sim_channel(bool client, base::NodeIdentity own, base::Rng& rng) {
  return std::make_unique<SimChannel>(client, std::move(own), rng);
}

}  // namespace tunnel
