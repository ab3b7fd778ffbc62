#include "tunnel/lan/lan_message.h"

#include <openssl/digest.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "base/core/assert.h"

namespace tunnel {
namespace {

constexpr uint16_t kA = 1, kPtr = 12, kTxt = 16, kAaaa = 28, kSrv = 33, kAny = 255;
constexpr uint16_t kIn = 1, kTopBit = 0x8000;  // of the class: "cache flush" in answers, "unicast wished" in questions
constexpr uint16_t kResponse = 0x8400;         // QR and AA
constexpr uint16_t kOpcodeAndCode = 0x780f;    // zero in all multicast DNS (RFC 6762 §18.3, §18.11)
constexpr size_t kNameBytesMax = 255, kPointersMax = 16;
constexpr size_t kQueryBytesMax = 1200;

// Names are kept as they are on the wire (length, bytes, ..., 0), in lower case.
std::string name_of(std::initializer_list<std::string_view> labels) {
  std::string out;
  for (auto l : labels) out += char(l.size()), out += l;
  return out + '\0';
}
const std::string& service_name() {
  static const std::string name = name_of({"_edgemesh", "_udp", "local"});
  return name;
}
std::string instance_name(const LanLabel& l) { return name_of({l.str(), "_edgemesh", "_udp", "local"}); }
std::string host_name(const LanLabel& l) { return name_of({l.str(), "local"}); }

char lower(uint8_t c) { return char(c >= 'A' && c <= 'Z' ? c + 32 : c); }

// Pointers lead backwards only, so this ends.
std::optional<std::string> read_name(base::ByteView all, base::Reader& r) {
  std::string out;
  size_t at = r.position(), pointers = 0;
  bool jumped = false;
  auto step = [&](size_t n) {
    at += n;
    if (!jumped) r.take(n);
  };
  for (;;) {
    if (at >= all.size()) return std::nullopt;
    uint8_t n = all[at];
    if (n >= 0xc0) {
      if (at + 1 >= all.size() || ++pointers > kPointersMax) return std::nullopt;
      size_t to = base::load_be16(&all[at]) & 0x3fff;
      if (to >= at) return std::nullopt;
      step(2);
      jumped = true;
      at = to;
      continue;
    }
    if (n > 63 || at + 1 + n > all.size() || out.size() + n + 2 > kNameBytesMax) return std::nullopt;
    out += char(n);
    for (size_t i = 1; i <= n; i++) out += lower(all[at + i]);
    step(size_t(n) + 1);
    if (n == 0) return r.ok() ? std::optional(out) : std::nullopt;
  }
}

std::optional<LanLabel> label_under(const std::string& name, const std::string& parent) {
  size_t n = name.empty() ? 0 : uint8_t(name[0]);
  if (name.size() != 1 + n + parent.size() || name.compare(1 + n, std::string::npos, parent) != 0) return std::nullopt;
  return LanLabel::parse(std::string_view(name).substr(1, n));
}
std::optional<LanLabel> instance_of(const std::string& name) { return label_under(name, service_name()); }
std::optional<LanLabel> host_of(const std::string& name) {
  static const std::string local = name_of({"local"});
  return label_under(name, local);
}

struct Record {
  std::string name;
  uint16_t type = 0;
  uint32_t ttl = 0;
  size_t at = 0;  // of the data in the message
  base::ByteView data;
};

std::optional<Record> read_record(base::ByteView all, base::Reader& r) {
  auto name = read_name(all, r);
  if (!name) return std::nullopt;
  Record out;
  out.name = std::move(*name);
  out.type = r.u16();
  bool in = (r.u16() & ~kTopBit) == kIn;
  out.ttl = r.u32();
  size_t length = r.u16();
  out.at = r.position();
  out.data = r.take(length);
  if (!r.ok()) return std::nullopt;
  if (!in) out.type = 0;  // another class: nothing of ours
  return out;
}

std::optional<std::string> name_in(base::ByteView all, const Record& rec, size_t skip) {
  if (rec.data.size() < skip) return std::nullopt;
  base::ByteView until = all.first(rec.at + rec.data.size());
  base::Reader r(until);
  r.take(rec.at + skip);
  return read_name(until, r);
}

// The port of "t=<port>" beside "v=1"; none: not this version.
std::optional<uint16_t> tcp_port_in(base::ByteView txt) {
  bool ours = false;
  uint16_t port = 0;
  base::Reader r(txt);
  while (r.left() > 0) {
    std::string_view s = base::as_text(r.take(r.u8()));
    if (!r.ok()) return std::nullopt;
    if (s == "v=1") ours = true;
    if (s.starts_with("t=")) std::from_chars(s.data() + 2, s.data() + s.size(), port);
  }
  return ours ? std::optional(port) : std::nullopt;
}

// What the records of one message say, put together.
struct Gathered {
  struct Server {
    uint16_t port = 0;
    uint32_t ttl = 0;
    std::string host;
  };
  std::map<LanLabel, Server> servers;
  std::map<LanLabel, uint16_t> tcp_ports;
  std::map<std::string, std::vector<base::IpAddr>> hosts;

  void take(base::ByteView all, const Record& rec) {
    auto label = instance_of(rec.name);
    if (rec.type == kSrv && label && servers.size() < kLanServicesMax) {
      if (auto host = name_in(all, rec, 6)) servers[*label] = {base::load_be16(rec.data.data() + 4), rec.ttl, *host};
    } else if (rec.type == kTxt && label) {
      if (auto port = tcp_port_in(rec.data)) tcp_ports[*label] = *port;
    } else if ((rec.type == kA && rec.data.size() == 4) || (rec.type == kAaaa && rec.data.size() == 16)) {
      auto& list = hosts[rec.name];
      if (list.size() < kLanAddressesMax)
        list.push_back(rec.type == kA ? base::IpAddr::v4(rec.data.data()) : base::IpAddr::v6(rec.data.data()));
    }
  }
  std::vector<LanService> services() const {
    std::vector<LanService> out;
    for (const auto& [label, s] : servers) {
      auto tcp = tcp_ports.find(label);
      auto at = hosts.find(s.host);
      if (tcp != tcp_ports.end() && at != hosts.end() && s.port) out.push_back({label, s.port, tcp->second, at->second, s.ttl});
    }
    return out;
  }
};

bool read_questions(base::ByteView all, base::Reader& r, size_t n, LanMessage& m) {
  for (size_t i = 0; i < n; i++) {
    auto name = read_name(all, r);
    uint16_t type = r.u16();
    r.u16();
    if (!name || !r.ok()) return false;
    if (*name == service_name() && (type == kPtr || type == kAny)) m.browses = true;
    auto label = instance_of(*name);
    if (!label) label = host_of(*name);
    if (label && m.asked.size() < kLanServicesMax) m.asked.push_back(*label);
  }
  return true;
}

class MessageWriter {
 public:
  MessageWriter(uint16_t flags, size_t questions, size_t answers, size_t authority) : w_(out_) {
    for (size_t v : {size_t(0), size_t(flags), questions, answers, authority, size_t(0)}) w_.u16(uint16_t(v));
  }
  void question(const std::string& name, uint16_t type) {
    w_.put(base::as_bytes(name));
    w_.u16(type);
    w_.u16(kIn);
  }
  void record(const std::string& name, uint16_t type, bool unique, uint32_t ttl, base::ByteView data) {
    w_.put(base::as_bytes(name));
    w_.u16(type);
    w_.u16(unique ? kIn | kTopBit : kIn);
    w_.u32(ttl);
    w_.u16(uint16_t(data.size()));
    w_.put(data);
  }
  void pointer(const LanLabel& l, uint32_t ttl) { record(service_name(), kPtr, false, ttl, base::as_bytes(instance_name(l))); }
  void server(const LanService& s, bool unique) {
    base::ByteVec data;
    base::Writer w(data);
    w.u32(0);  // priority, weight
    w.u16(s.udp_port);
    w.put(base::as_bytes(host_name(s.label)));
    record(instance_name(s.label), kSrv, unique, s.ttl, data);
  }
  void text(const LanService& s) {
    base::ByteVec data;
    base::Writer w(data);
    for (const std::string& t : {std::string("v=1"), "t=" + std::to_string(s.tcp_port)}) {
      w.u8(uint8_t(t.size()));
      w.put(base::as_bytes(t));
    }
    record(instance_name(s.label), kTxt, true, s.ttl, data);
  }
  void addresses(const LanService& s) {
    for (const auto& ip : s.addresses) record(host_name(s.label), ip.is_v4() ? kA : kAaaa, true, s.ttl, ip.bytes());
  }
  size_t size() const { return out_.size(); }
  base::ByteVec take() { return std::move(out_); }
  void set_answers(size_t n) { base::store_be16(&out_[6], uint16_t(n)); }

 private:
  base::ByteVec out_;
  base::Writer w_;
};

}  // namespace

LanTag lan_tag(base::ByteView authority, std::string_view trust_domain, std::string_view name) {
  std::string text("edgemesh lan\0", 13);
  text.append(trust_domain).append(1, '\0').append(name);
  uint8_t out[32];
  unsigned n = 0;
  EM_ASSERT(HMAC(EVP_sha256(), authority.data(), authority.size(), reinterpret_cast<const uint8_t*>(text.data()), text.size(), out, &n) &&
            n == sizeof out);
  return base::load_be64(out);
}

std::string LanLabel::str() const {
  uint8_t b[12];
  base::store_be64(b, tag);
  base::store_be32(b + 8, instance);
  std::string hex = base::to_hex(b);
  return hex.substr(0, 16) + "-" + hex.substr(16);
}

std::optional<LanLabel> LanLabel::parse(std::string_view s) {
  if (s.size() != 25 || s[16] != '-') return std::nullopt;
  auto bytes = base::from_hex(std::string(s.substr(0, 16)) + std::string(s.substr(17)));
  if (!bytes || bytes->size() != 12) return std::nullopt;
  return LanLabel{base::load_be64(bytes->data()), base::load_be32(bytes->data() + 8)};
}

std::optional<LanMessage> read_lan(base::ByteView all) {
  if (all.size() > kLanMessageBytesMax) return std::nullopt;
  base::Reader r(all);
  r.u16();  // an id: no meaning here
  uint16_t flags = r.u16();
  size_t questions = r.u16(), answers = r.u16(), authority = r.u16(), additional = r.u16();
  if (!r.ok() || (flags & kOpcodeAndCode) || questions + answers + authority + additional > kLanRecordsMax) return std::nullopt;
  LanMessage m;
  m.response = flags & 0x8000;
  if (!read_questions(all, r, questions, m)) return std::nullopt;
  Gathered gathered;
  for (size_t i = 0; i < answers + authority + additional; i++) {
    auto rec = read_record(all, r);
    if (!rec) return std::nullopt;
    if (m.response) {
      gathered.take(all, *rec);
    } else if (i < answers && rec->type == kPtr && rec->name == service_name()) {
      auto to = name_in(all, *rec, 0);
      if (auto label = to ? instance_of(*to) : std::nullopt) m.known.push_back({*label, rec->ttl});
    } else if (i >= answers && i < answers + authority && rec->type == kSrv) {
      if (auto label = instance_of(rec->name)) m.proposed.push_back(*label);
    }
  }
  m.services = gathered.services();
  return m;
}

base::ByteVec make_lan_query(const std::vector<LanKnown>& known) {
  MessageWriter w(0, 1, 0, 0);
  w.question(service_name(), kPtr);
  size_t n = 0;
  for (const auto& k : known) {
    if (n + 2 > kLanRecordsMax || w.size() + 100 > kQueryBytesMax) break;
    w.pointer(k.label, k.ttl);
    n++;
  }
  w.set_answers(n);
  return w.take();
}

base::ByteVec make_lan_probe(const std::vector<LanService>& list) {
  MessageWriter w(0, list.size(), 0, list.size());
  for (const auto& s : list) w.question(instance_name(s.label), kAny);
  for (const auto& s : list) w.server(s, false);  // RFC 6762 §8.2: without the cache-flush bit
  return w.take();
}

base::ByteVec make_lan_response(const std::vector<LanService>& list) {
  size_t n = 0;
  for (const auto& s : list) n += 3 + s.addresses.size();
  MessageWriter w(kResponse, 0, n, 0);
  for (const auto& s : list) {
    w.pointer(s.label, s.ttl);
    w.server(s, true);
    w.text(s);
    w.addresses(s);
  }
  return w.take();
}

}  // namespace tunnel
