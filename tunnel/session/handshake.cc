#include "tunnel/session/handshake.h"

#include <algorithm>

#include "base/core/limits.h"

namespace tunnel {

namespace {
constexpr uint32_t kIsPacket = uint32_t(1) << 31;  // in the length before a message
}

bool goes_first(std::string_view own_name, std::string_view peer_name) {
  return base::sha256(base::as_bytes(own_name)) < base::sha256(base::as_bytes(peer_name));
}

Handshake::Handshake(Config config, std::unique_ptr<SecureChannel> channel) : config_(std::move(config)), channel_(std::move(channel)) {
  for (const Psk& p : config_.psks) config_.hello.psk_ids.push_back(p.id);
}

base::Result<void> Handshake::start() { return channel_->start(); }

base::Result<void> Handshake::feed(base::ByteView b) {
  EM_TRY(channel_->feed(b));
  return advance();
}

base::Result<void> Handshake::advance() {
  if (await_ == Await::channel && channel_->established()) EM_TRY(on_established());
  auto fresh = channel_->take_read();
  read_.insert(read_.end(), fresh.begin(), fresh.end());
  if (read_.size() > base::limits::kSignalMessageBytesMax) return base::fail(base::Code::limit, "{} sends too much", config_.peer_name);
  for (;;) {
    base::Reader r(read_);
    uint32_t length = r.u32();
    bool is_packet = length & kIsPacket;
    base::ByteView message = r.take(length & ~kIsPacket);
    if (!r.ok() || await_ == Await::channel || (await_ == Await::nothing && !is_packet)) return {};
    base::ByteVec copy(message.begin(), message.end());
    read_.erase(read_.begin(), read_.begin() + long(r.position()));
    if (is_packet) EM_TRY(on_packet(copy));
    else EM_TRY(await_ == Await::hello ? on_hello(copy) : on_confirm(copy));
  }
}

base::Result<void> Handshake::on_established() {
  await_ = Await::hello;
  auto peer = channel_->peer();
  if (!peer) return refuse(peer.error());
  if (peer->trust_domain != config_.cluster)
    return refuse({base::Code::denied, fmt::format("the certificate of {} is of trust domain {}, not {}", peer->name, peer->trust_domain, config_.cluster)});
  if (peer->name != config_.peer_name)
    return refuse({base::Code::denied, fmt::format("asked for {}, the certificate is for {}", config_.peer_name, peer->name)});
  if (config_.accept) {
    auto ok = config_.accept(*peer);
    if (!ok) return refuse(ok.error());
  }
  out_.peer = std::move(*peer);
  return config_.client ? send(encode(config_.hello)) : base::Result<void>{};
}

base::Result<void> Handshake::on_hello(base::ByteView b) {
  auto hello = decode_hello(b);
  if (!hello) {  // a side that refuses says so in place of its hello
    auto word = decode_confirm(b);
    if (word && !word->refused.empty()) return base::fail(base::Code::denied, "{} refuses: {}", config_.peer_name, word->refused);
    return refuse({base::Code::invalid, config_.peer_name + " sent a malformed hello"});
  }
  out_.hello = std::move(*hello);
  if (config_.client) return await_ = Await::confirm, base::Result<void>{};
  EM_TRY(choose_psk());
  config_.hello.aead = out_.hello.aead;
  EM_TRY(derive());
  EM_TRY(send(encode(config_.hello)));
  EM_TRY(send_confirm());
  await_ = Await::confirm;
  return {};
}

base::Result<void> Handshake::choose_psk() {
  const auto& theirs = out_.hello.psk_ids;
  if (config_.psks.empty() && theirs.empty()) return {};
  for (const Psk& p : config_.psks)
    if (std::find(theirs.begin(), theirs.end(), p.id) != theirs.end()) return psk_ = p, base::Result<void>{};
  return refuse({base::Code::denied,
                 fmt::format("no pre-shared key in common between {} ({}) and {} ({}): give both the same psk file", config_.own_name,
                             config_.psks.empty() ? "none" : base::to_hex(config_.psks[0].id), config_.peer_name,
                             theirs.empty() ? "none" : base::to_hex(theirs[0]))});
}

base::Result<void> Handshake::derive() {
  const auto &client = config_.client ? config_.hello : out_.hello, &server = config_.client ? out_.hello : config_.hello;
  const Digest peer_leaf = channel_->peer_leaf();
  ScheduleInput in{config_.cluster,
                   config_.client ? config_.own_name : config_.peer_name,
                   config_.client ? config_.peer_name : config_.own_name,
                   config_.client ? config_.own_leaf : peer_leaf,
                   config_.client ? peer_leaf : config_.own_leaf,
                   client.index,
                   server.index,
                   server.aead,
                   psk_.id};
  Digest context = exporter_context(in);
  EM_TRY_ASSIGN(Digest exported, channel_->exporter(kExporterLabel, context));
  EM_TRY_ASSIGN(Digest resume, channel_->exporter(kResumeLabel, context));
  SessionSecrets s = derive_secrets(exported, psk_.key, context, in.aead);
  out_.resume = derive_resume_secret(resume, psk_.key);
  base::secure_zero(exported.data(), exported.size());
  base::secure_zero(resume.data(), resume.size());
  own_mac_ = config_.client ? s.client_mac : s.server_mac;
  peer_mac_ = config_.client ? s.server_mac : s.client_mac;
  out_.keys = DataKeys::make(in.aead, config_.client ? s.client : s.server, config_.client ? s.server : s.client, config_.hello.index,
                             out_.hello.index);
  return {};
}

base::Result<void> Handshake::on_confirm(base::ByteView b) {
  auto confirm = decode_confirm(b);
  if (!confirm) return refuse({base::Code::invalid, config_.peer_name + " sent a malformed confirm"});
  if (!confirm->refused.empty()) return base::fail(base::Code::denied, "{} refuses: {}", config_.peer_name, confirm->refused);
  if (config_.client) {
    auto p = std::find_if(config_.psks.begin(), config_.psks.end(), [&](const Psk& x) { return x.id == confirm->psk_id; });
    if (p != config_.psks.end()) psk_ = *p;
    else if (!confirm->psk_id.empty() || !config_.psks.empty())
      return refuse({base::Code::denied, fmt::format("{} chose pre-shared key {}, which {} does not have", config_.peer_name,
                                                     confirm->psk_id.empty() ? "none" : base::to_hex(confirm->psk_id), config_.own_name)});
    EM_TRY(derive());
  }
  if (!same_digest(peer_mac_, confirm->mac)) {
    out_.keys = nullptr;
    return refuse({base::Code::denied, fmt::format("{} and {} derived different keys: their pre-shared keys differ, or somebody is in between",
                                                   config_.own_name, config_.peer_name)});
  }
  out_.confirmed = true;
  await_ = Await::nothing;
  return config_.client ? send_confirm() : base::Result<void>{};
}

bool Handshake::may_carry() const {
  bool knows_peer = config_.client ? await_ != Await::channel : out_.keys != nullptr;
  return knows_peer && carried_ < kCarriedPacketsMax && channel_->takes_packets() && (out_.confirmed || config_.psks.empty());
}

base::Result<void> Handshake::carry(base::ByteView packet) {
  if (!may_carry() || packet.empty() || packet.size() > kCarriedPacketBytesMax) return base::fail(base::Code::invalid, "no packet may follow");
  carried_++;
  base::ByteVec framed;
  base::Writer w(framed);
  w.u32(kIsPacket | uint32_t(packet.size()));
  w.put(packet);
  return channel_->write(framed);
}

base::Result<void> Handshake::on_packet(base::ByteView packet) {
  if (!out_.keys || !(out_.confirmed || psk_.id.empty()) || packet.empty() || packet.size() > kCarriedPacketBytesMax || ++taken_ > kCarriedPacketsMax)
    return refuse({base::Code::invalid, config_.peer_name + " sent a packet that has no place in the handshake"});
  packets_.emplace_back(packet.begin(), packet.end());
  return {};
}

base::Result<void> Handshake::send(const base::ByteVec& message) {
  base::ByteVec framed;
  base::Writer w(framed);
  w.u32(uint32_t(message.size()));
  w.put(message);
  return channel_->write(framed);
}

base::Result<void> Handshake::send_confirm() { return send(encode(SessionConfirm{psk_.id, {own_mac_.begin(), own_mac_.end()}, ""})); }

base::Result<void> Handshake::refuse(base::Error why) {
  (void)send(encode(SessionConfirm{{}, {}, why.what}));
  return tl::unexpected(std::move(why));
}

}  // namespace tunnel
