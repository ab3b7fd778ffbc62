// What the admin surface asks of the server: a look-up of its own, and what is in the cache.
#include "dns/server/dns_server.h"

namespace dns {

namespace {

// Answered once, at the latest when the last copy goes: after a reload nobody waits for what the old responder had asked.
struct Once {
  DnsServer::LookedUp done;
  ~Once() {
    if (done) done(base::fail(base::Code::unavailable, "dns: the server was configured anew meanwhile: ask again"));
  }
  void say(base::Result<LookupView> v) {
    if (auto f = std::exchange(done, nullptr)) f(std::move(v));
  }
};

base::Result<LookupView> view_of(LookupView v, base::ByteView reply, bool waited) {
  auto m = message_text(reply);
  if (!m) return base::fail(base::Code::invalid, "dns: the answer about {} cannot be read", v.name);
  v.message = std::move(*m);
  const bool ours = reply[2] & 4;
  v.from = v.message.ede == int(Ede::stale_answer) || v.message.ede == int(Ede::stale_nxdomain) ? "old answer" : waited ? "upstream" : ours ? "cluster" : "cache";
  return v;
}

int64_t seconds(base::Duration d) { return std::chrono::floor<std::chrono::seconds>(d).count(); }

bool is_under(const Name& n, std::string_view domain) {
  std::string_view k = n.key();
  if (domain.size() > k.size() || !k.ends_with(domain)) return false;
  for (size_t at = 0; at < k.size(); at += uint8_t(k[at]) + size_t(1))
    if (at == k.size() - domain.size()) return true;
  return false;
}

}  // namespace

void DnsServer::lookup(const std::string& name, std::string type_name, LookedUp done) {
  auto address = base::IpAddr::parse(name);
  auto n = address ? reverse_name(address->bytes()) : Name::from_text(name);
  if (type_name.empty()) type_name = address ? "PTR" : "A";
  auto t = type_from_text(type_name);
  if (!n) return done(base::fail(base::Code::invalid, "dns: \"{}\" is not a domain name", name));
  if (!t || *t == type::OPT) return done(base::fail(base::Code::invalid, "dns: \"{}\" is not a record type; the usual ones are A, AAAA, SRV and PTR", type_name));
  base::ByteVec query(kHeaderSize + kNameMax + 4 + kOptSize), out(kMessageMax);
  query.resize(write_query(*n, *t, uint16_t(rng_.u32()), 1232, false, false, query));
  LookupView v{.name = n->text(), .type = type_text(*t)};
  const base::IpPort here{*base::IpAddr::parse("127.0.0.1"), 0};
  auto a = responder_->answer(query, Transport::tcp, here, out);
  responder_->count();
  if (a.kind == Responder::Answered::Kind::reply) return done(view_of(std::move(v), {out.data(), a.size}, false));
  if (a.kind == Responder::Answered::Kind::drop) return done(base::fail(base::Code::invalid, "dns: nothing is answered to {}", name));
  auto once = std::make_shared<Once>();
  once->done = std::move(done);
  responder_->wait_for(Transport::tcp, [this, once, v, began = loop_.now()](base::ByteView reply) mutable {
    v.us = std::chrono::duration_cast<std::chrono::microseconds>(loop_.now() - began).count();
    once->say(view_of(std::move(v), reply, true));
  });
}

static constexpr size_t kLookAtMost = 10'000;  // entries: the loop serves others

CacheView DnsServer::cache_view(const std::string& under, size_t most) const {
  const AnswerCache& c = upstream_->cache();
  CacheView v{.entries = c.size(), .bytes = c.bytes(), .bytes_max = config_.upstream.cache_bytes_max};
  auto domain = Name::from_text(under.empty() ? "." : under);
  if (!domain) return v;
  domain->make_lower();
  size_t looked = 0;
  const base::Instant now = loop_.now();
  c.each([&](const Question& q, const StoredAnswer& a) {
    if (v.list.size() >= most || ++looked > kLookAtMost) return false;
    if (is_under(q.name, domain->key()))
      v.list.push_back({q.name.text(), type_text(q.type), rcode_text(uint16_t(a.scan.rcode)), a.scan.answers, a.bytes(), seconds(now - a.stored),
                        seconds(a.expires - now), seconds(a.stale_until - now)});
    return true;
  });
  return v;
}

}  // namespace dns
