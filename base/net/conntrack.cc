#include "base/net/conntrack.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <vector>

#include "base/net/conntrack_message.h"
#include "base/net/nft_socket.h"
#include "base/net/nl_attrs.h"

namespace base::conntrack {
namespace {

uint8_t family_number(Family f) { return f == Family::v4 ? AF_INET : AF_INET6; }

IpAddr addr_of(const nlattr* a) {
  auto* p = static_cast<const uint8_t*>(mnl_attr_get_payload(a));
  return mnl_attr_get_payload_len(a) == 4 ? IpAddr::v4(p) : mnl_attr_get_payload_len(a) == 16 ? IpAddr::v6(p) : IpAddr();
}

void parse_addrs(const nlattr* nest, Tuple& t) {
  for (const nlattr* a : detail::nested(nest)) switch (mnl_attr_get_type(a)) {
    case CTA_IP_V4_SRC:
    case CTA_IP_V6_SRC: t.src.ip = addr_of(a); break;
    case CTA_IP_V4_DST:
    case CTA_IP_V6_DST: t.dst.ip = addr_of(a); break;
  }
}

void parse_proto(const nlattr* nest, Tuple& t, uint8_t& proto) {
  for (const nlattr* a : detail::nested(nest)) switch (mnl_attr_get_type(a)) {
    case CTA_PROTO_NUM: proto = mnl_attr_get_u8(a); break;
    case CTA_PROTO_SRC_PORT: t.src.port = ntohs(mnl_attr_get_u16(a)); break;
    case CTA_PROTO_DST_PORT: t.dst.port = ntohs(mnl_attr_get_u16(a)); break;
  }
}

uint8_t parse_tuple(const nlattr* nest, Tuple& t) {
  uint8_t proto = 0;
  for (const nlattr* a : detail::nested(nest)) {
    if (mnl_attr_get_type(a) == CTA_TUPLE_IP) parse_addrs(a, t);
    if (mnl_attr_get_type(a) == CTA_TUPLE_PROTO) parse_proto(a, t, proto);
  }
  return proto;
}

std::optional<uint8_t> parse_tcp_state(const nlattr* protoinfo) {
  for (const nlattr* a : detail::nested(protoinfo)) {
    if (mnl_attr_get_type(a) != CTA_PROTOINFO_TCP) continue;
    for (const nlattr* t : detail::nested(a))
      if (mnl_attr_get_type(t) == CTA_PROTOINFO_TCP_STATE) return mnl_attr_get_u8(t);
  }
  return std::nullopt;
}

void put_tuple(nlmsghdr* h, uint16_t type, const Tuple& t, Proto proto) {
  bool v4 = t.src.ip.is_v4();
  nlattr* tuple = mnl_attr_nest_start(h, type);
  nlattr* ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
  mnl_attr_put(h, v4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, t.src.ip.bytes().size(), t.src.ip.bytes().data());
  mnl_attr_put(h, v4 ? CTA_IP_V4_DST : CTA_IP_V6_DST, t.dst.ip.bytes().size(), t.dst.ip.bytes().data());
  mnl_attr_nest_end(h, ip);
  nlattr* l4 = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
  mnl_attr_put_u8(h, CTA_PROTO_NUM, uint8_t(proto));
  mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, htons(t.src.port));
  mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, htons(t.dst.port));
  mnl_attr_nest_end(h, l4);
  mnl_attr_nest_end(h, tuple);
}

Result<void> erase_on(detail::NfSocket& sock, const Entry& e) {
  alignas(nlmsghdr) char buf[512];
  auto* h = mnl_nlmsg_put_header(buf);
  h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  h->nlmsg_seq = 1;
  auto* g = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
  *g = {family_number(e.orig.src.ip.family()), NFNETLINK_V0, 0};
  put_tuple(h, CTA_TUPLE_ORIG, e.orig, e.proto);
  EM_TRY(sock.send({reinterpret_cast<uint8_t*>(buf), h->nlmsg_len}));
  return sock.read_verdict([&](uint32_t) { return "conntrack entry " + e.orig.src.str() + " -> " + e.orig.dst.str(); },
                           ENOENT);
}

}  // namespace

std::optional<Entry> parse(const nlmsghdr* h) {
  Entry e;
  uint8_t proto = 0;
  for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg))) switch (mnl_attr_get_type(a)) {
    case CTA_TUPLE_ORIG: proto = parse_tuple(a, e.orig); break;
    case CTA_TUPLE_REPLY: parse_tuple(a, e.reply); break;
    case CTA_STATUS: e.status = ntohl(mnl_attr_get_u32(a)); break;
    case CTA_PROTOINFO: e.tcp_state = parse_tcp_state(a); break;
  }
  if (proto != uint8_t(Proto::tcp) && proto != uint8_t(Proto::udp)) return std::nullopt;
  e.proto = Proto(proto);
  return e;
}

bool Entry::is_answered() const { return status & IPS_SEEN_REPLY; }
bool Entry::is_dnat() const { return status & IPS_DST_NAT; }

Result<void> each(Family f, std::optional<Proto> proto, const std::function<void(const Entry&)>& fn) {
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  return sock.dump(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, family_number(f), [](nlmsghdr*) {}, [&](const nlmsghdr* h) {
    auto e = parse(h);
    if (e && (!proto || e->proto == *proto)) fn(*e);
  });
}

Result<Entry> find_by_reply(Proto proto, const Tuple& reply) {
  std::optional<Entry> found;
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  EM_TRY(sock.ask(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, family_number(reply.src.ip.family()),
                  [&](nlmsghdr* h) { put_tuple(h, CTA_TUPLE_REPLY, reply, proto); }, [&](const nlmsghdr* h) { found = parse(h); }));
  if (!found) return fail(Code::not_found, "no flow is answered from {} to {}", reply.src.str(), reply.dst.str());
  return *found;
}

Result<Entry> find(Proto proto, const Tuple& orig) {
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  alignas(nlmsghdr) char buf[512];
  auto* h = mnl_nlmsg_put_header(buf);
  h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
  h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  h->nlmsg_seq = 1;
  auto* g = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
  *g = {family_number(orig.src.ip.family()), NFNETLINK_V0, 0};
  put_tuple(h, CTA_TUPLE_ORIG, orig, proto);
  EM_TRY(sock.send({reinterpret_cast<uint8_t*>(buf), h->nlmsg_len}));
  std::optional<Entry> found;
  EM_TRY(sock.read_verdict([&](uint32_t) { return "conntrack entry " + orig.src.str() + " -> " + orig.dst.str(); }, ENOENT,
                           [&](const nlmsghdr* m) { found = parse(m); }));
  if (!found) return fail(Code::not_found, "no conntrack entry {} -> {}", orig.src.str(), orig.dst.str());
  return *found;
}

static Result<void> each_of(Family f, Proto proto, bool dnat, bool answered, const std::function<void(const Entry&)>& fn) {
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  auto only = [&](nlmsghdr* h) {  // kernels before 5.18 send all
    mnl_attr_put_u32(h, CTA_STATUS, htonl((dnat ? uint32_t(IPS_DST_NAT) : 0) | (answered ? uint32_t(IPS_SEEN_REPLY) : 0)));
    mnl_attr_put_u32(h, CTA_STATUS_MASK, htonl(IPS_DST_NAT | IPS_SEEN_REPLY));
  };
  return sock.dump(NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET, family_number(f), only, [&](const nlmsghdr* h) {
    auto e = parse(h);
    if (e && e->proto == proto && e->is_dnat() == dnat && e->is_answered() == answered) fn(*e);
  });
}

Result<void> each_unanswered_dnat(Family f, const std::function<void(const Entry&)>& fn) { return each_of(f, Proto::tcp, true, false, fn); }

Result<void> each_udp_dnat(Family f, bool answered, const std::function<void(const Entry&)>& fn) {
  return each_of(f, Proto::udp, true, answered, fn);
}

Result<void> erase(const Entry& e) {
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  return erase_on(sock, e);
}

static Result<size_t> erase_all(const std::vector<Entry>& list) {
  if (list.empty()) return size_t(0);
  EM_TRY_ASSIGN(auto sock, detail::NfSocket::open());
  for (const Entry& e : list) EM_TRY(erase_on(sock, e));
  return list.size();
}

Result<size_t> erase_if(Family f, std::optional<Proto> proto, const std::function<bool(const Entry&)>& match) {
  std::vector<Entry> found;
  EM_TRY(each(f, proto, [&](const Entry& e) { if (match(e)) found.push_back(e); }));
  return erase_all(found);
}

Result<size_t> erase_unserved(Family f, const std::function<bool(const Entry&)>& match) {
  std::vector<Entry> found;
  EM_TRY(each_of(f, Proto::tcp, false, false, [&](const Entry& e) { if (match(e)) found.push_back(e); }));
  return erase_all(found);
}

Result<size_t> erase_udp_to(const IpPort& to) {
  return erase_if(to.ip.family(), Proto::udp, [&](const Entry& e) { return e.orig.dst == to; });
}

Result<size_t> erase_udp_flow(const IpPort& client, const IpPort& to) {
  return erase_if(to.ip.family(), Proto::udp, [&](const Entry& e) { return e.orig.dst == to && e.orig.src == client; });
}

Result<size_t> erase_udp_served_by(const IpPort& endpoint) {
  return erase_if(endpoint.ip.family(), Proto::udp, [&](const Entry& e) { return e.reply.src == endpoint && e.orig.dst != endpoint; });
}

Result<size_t> erase_from(const IpAddr& source) {
  return erase_if(source.family(), std::nullopt, [&](const Entry& e) { return e.orig.src.ip == source; });
}

Result<size_t> erase_of_peer(const IpAddr& a) {
  return erase_if(a.family(), std::nullopt, [&](const Entry& e) {
    return e.orig.src.ip == a || e.orig.dst.ip == a || e.reply.src.ip == a || e.reply.dst.ip == a;
  });
}

}  // namespace base::conntrack
