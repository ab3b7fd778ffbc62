#include "base/net/nft_judge.h"

#include <arpa/inet.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_conntrack.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <array>
#include <cstring>

namespace base::detail {
namespace {

constexpr uint16_t kSourcePort = 40'000;

enum class Match : uint8_t { yes, no, unknown };

// The 64 bytes of registers, each known or not.
class Registers {
 public:
  void set(uint32_t reg, const void* p, size_t n) {
    size_t at = offset(reg);
    if (at + n > bytes_.size()) return;
    memcpy(&bytes_[at], p, n);
    mark(at, n, true);
  }
  void set_number(uint32_t reg, uint32_t v) { set(reg, &v, 4); }
  void forget(uint32_t reg, size_t n) { mark(offset(reg), n, false); }
  // nullptr: not known
  const uint8_t* get(uint32_t reg, size_t n) const {
    size_t at = offset(reg);
    if (at + n > bytes_.size()) return nullptr;
    for (size_t i = at; i < at + n; ++i)
      if (!known_[i]) return nullptr;
    return &bytes_[at];
  }

 private:
  static size_t offset(uint32_t reg) { return reg >= NFT_REG_1 && reg <= NFT_REG_4 ? (reg - 1) * 16 : reg >= NFT_REG32_00 ? (reg - NFT_REG32_00) * 4 : 64; }
  void mark(size_t at, size_t n, bool known) {
    for (size_t i = at; i < at + n && i < known_.size(); ++i) known_[i] = known;
  }
  std::array<uint8_t, 64> bytes_{};
  std::array<bool, 64> known_{};
};

class Judge {
 public:
  explicit Judge(const TriedPacket& p) : p_(p) {}

  Judged run(const nftnl_rule* rule) {
    std::unique_ptr<nftnl_expr_iter, void (*)(nftnl_expr_iter*)> it(nftnl_expr_iter_create(rule), nftnl_expr_iter_destroy);
    while (auto* e = it ? nftnl_expr_iter_next(it.get()) : nullptr) {
      if (auto verdict = verdict_of(e)) return *verdict;
      if (step(e) != Match::yes) return {};
    }
    return {};
  }

 private:
  static uint32_t u32(const nftnl_expr* e, uint16_t a) { return nftnl_expr_get_u32(e, a); }
  static std::string name_of(const nftnl_expr* e) { return nftnl_expr_get_str(e, NFTNL_EXPR_NAME); }

  static std::optional<Judged> verdict_of(const nftnl_expr* e) {
    std::string name = name_of(e);
    if (name == "reject") return Judged{Judgement::drop, {}};
    if (name == "target") {
      std::string target = nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME);
      if (target == "REJECT" || target == "DROP") return Judged{Judgement::drop, {}};
      return std::nullopt;
    }
    if (name != "immediate" || u32(e, NFTNL_EXPR_IMM_DREG) != NFT_REG_VERDICT) return std::nullopt;
    const char* chain = nftnl_expr_get_str(e, NFTNL_EXPR_IMM_CHAIN);
    switch (int32_t(u32(e, NFTNL_EXPR_IMM_VERDICT))) {
      case NF_ACCEPT: return Judged{Judgement::accept, {}};
      case NF_DROP: return Judged{Judgement::drop, {}};
      case NFT_RETURN: return Judged{Judgement::ret, {}};
      case NFT_JUMP: return Judged{Judgement::jump, chain ? chain : ""};
      case NFT_GOTO: return Judged{Judgement::go, chain ? chain : ""};
      default: return Judged{};
    }
  }

  Match step(const nftnl_expr* e) {
    std::string name = name_of(e);
    if (name == "meta") return load_meta(e);
    if (name == "ct") return load_ct(e);
    if (name == "payload") return load_payload(e);
    if (name == "fib") return load_fib(e);
    if (name == "bitwise") return bitwise(e);
    if (name == "cmp") return compare(e);
    if (name == "match") return iptables_match(e);
    if (name == "immediate") {
      uint32_t n = 0;
      const void* p = nftnl_expr_get(e, NFTNL_EXPR_IMM_DATA, &n);
      if (p) regs_.set(u32(e, NFTNL_EXPR_IMM_DREG), p, n);
      return Match::yes;
    }
    for (auto* harmless : {"counter", "log", "target", "notrack", "last", "nat", "masq"})
      if (name == harmless) return Match::yes;
    return Match::unknown;  // lookup, limit, quota, ...
  }

  void set_ifname(uint32_t reg, const std::string& name) {
    char b[16] = {};
    memcpy(b, name.data(), std::min(name.size(), sizeof b - 1));
    regs_.set(reg, b, sizeof b);
  }

  Match load_meta(const nftnl_expr* e) {
    if (nftnl_expr_is_set(e, NFTNL_EXPR_META_SREG)) return Match::yes;  // sets a mark: no match
    uint32_t reg = u32(e, NFTNL_EXPR_META_DREG);
    uint8_t byte;
    switch (u32(e, NFTNL_EXPR_META_KEY)) {
      case NFT_META_IIFNAME: set_ifname(reg, p_.iif); break;
      case NFT_META_OIFNAME: set_ifname(reg, p_.oif); break;
      case NFT_META_IIF: regs_.set_number(reg, ::if_nametoindex(p_.iif.c_str())); break;
      case NFT_META_OIF: regs_.set_number(reg, ::if_nametoindex(p_.oif.c_str())); break;
      case NFT_META_L4PROTO: byte = uint8_t(p_.proto), regs_.set(reg, &byte, 1); break;
      case NFT_META_NFPROTO: byte = p_.dst.is_v4() ? NFPROTO_IPV4 : NFPROTO_IPV6, regs_.set(reg, &byte, 1); break;
      default: regs_.forget(reg, 16);
    }
    return Match::yes;
  }

  Match load_ct(const nftnl_expr* e) {
    if (nftnl_expr_is_set(e, NFTNL_EXPR_CT_SREG)) return Match::yes;
    uint32_t reg = u32(e, NFTNL_EXPR_CT_DREG);
    switch (u32(e, NFTNL_EXPR_CT_KEY)) {
      case NFT_CT_STATE: regs_.set_number(reg, nft::kCtNew); break;
      case NFT_CT_STATUS: regs_.set_number(reg, p_.dnat ? nft::kCtStatusDnat : 0); break;
      case NFT_CT_DIRECTION: regs_.set_number(reg, 0); break;
      default: regs_.forget(reg, 16);
    }
    return Match::yes;
  }

  // Known are the addresses, the protocol and the ports.
  Match load_payload(const nftnl_expr* e) {
    if (nftnl_expr_is_set(e, NFTNL_EXPR_PAYLOAD_SREG)) return Match::yes;
    uint32_t reg = u32(e, NFTNL_EXPR_PAYLOAD_DREG), base = u32(e, NFTNL_EXPR_PAYLOAD_BASE);
    size_t at = u32(e, NFTNL_EXPR_PAYLOAD_OFFSET), len = u32(e, NFTNL_EXPR_PAYLOAD_LEN);
    bool v4 = p_.dst.is_v4();
    uint8_t header[40] = {};
    size_t from, to;
    regs_.forget(reg, len);
    if (base == NFT_PAYLOAD_NETWORK_HEADER) {
      size_t protocol = v4 ? 9 : 6;
      if (at == protocol && len == 1) header[at] = uint8_t(p_.proto);
      from = at == protocol ? protocol : v4 ? 12 : 8, to = at == protocol ? protocol + 1 : v4 ? 20 : 40;
      memcpy(header + (v4 ? 12 : 8), p_.src.bytes().data(), p_.src.bytes().size());
      memcpy(header + (v4 ? 16 : 24), p_.dst.bytes().data(), p_.dst.bytes().size());
    } else if (base == NFT_PAYLOAD_TRANSPORT_HEADER) {
      from = 0, to = 4;
      store_be16(header, kSourcePort);
      store_be16(header + 2, p_.dport);
    } else {
      return Match::yes;
    }
    if (at >= from && at + len <= to) regs_.set(reg, header + at, len);
    return Match::yes;
  }

  Match load_fib(const nftnl_expr* e) {
    uint32_t reg = u32(e, NFTNL_EXPR_FIB_DREG);
    bool destination_type = u32(e, NFTNL_EXPR_FIB_RESULT) == NFT_FIB_RESULT_ADDRTYPE && u32(e, NFTNL_EXPR_FIB_FLAGS) & NFTA_FIB_F_DADDR;
    if (destination_type) regs_.set_number(reg, p_.hook == nft::Hook::input ? RTN_LOCAL : RTN_UNICAST);
    else regs_.forget(reg, 16);
    return Match::yes;
  }

  Match bitwise(const nftnl_expr* e) {
    uint32_t len = u32(e, NFTNL_EXPR_BITWISE_LEN), n = 0, dreg = u32(e, NFTNL_EXPR_BITWISE_DREG);
    auto* mask = static_cast<const uint8_t*>(nftnl_expr_get(e, NFTNL_EXPR_BITWISE_MASK, &n));
    auto* flip = static_cast<const uint8_t*>(nftnl_expr_get(e, NFTNL_EXPR_BITWISE_XOR, &n));
    auto* in = regs_.get(u32(e, NFTNL_EXPR_BITWISE_SREG), len);
    if (!in || !mask || !flip || len > 16) {
      regs_.forget(dreg, len);
      return Match::yes;
    }
    uint8_t out[16];
    for (uint32_t i = 0; i < len; ++i) out[i] = uint8_t((in[i] & mask[i]) ^ flip[i]);
    regs_.set(dreg, out, len);
    return Match::yes;
  }

  Match compare(const nftnl_expr* e) {
    uint32_t n = 0;
    auto* want = static_cast<const uint8_t*>(nftnl_expr_get(e, NFTNL_EXPR_CMP_DATA, &n));
    auto* have = regs_.get(u32(e, NFTNL_EXPR_CMP_SREG), n);
    if (!have || !want) return Match::unknown;
    int d = memcmp(have, want, n);
    bool hit = false;
    switch (u32(e, NFTNL_EXPR_CMP_OP)) {
      case NFT_CMP_EQ: hit = d == 0; break;
      case NFT_CMP_NEQ: hit = d != 0; break;
      case NFT_CMP_LT: hit = d < 0; break;
      case NFT_CMP_LTE: hit = d <= 0; break;
      case NFT_CMP_GT: hit = d > 0; break;
      case NFT_CMP_GTE: hit = d >= 0; break;
    }
    return hit ? Match::yes : Match::no;
  }

  Match iptables_match(const nftnl_expr* e) {
    std::string name = nftnl_expr_get_str(e, NFTNL_EXPR_MT_NAME);
    if (name == "comment") return Match::yes;
    uint32_t n = 0;
    const void* info = nftnl_expr_get(e, NFTNL_EXPR_MT_INFO, &n);
    if (name == "conntrack" && info && n >= sizeof(xt_conntrack_mtinfo3) && u32(e, NFTNL_EXPR_MT_REV) == 3) {
      xt_conntrack_mtinfo3 c;
      memcpy(&c, info, sizeof c);
      return conntrack(c);
    }
    return Match::unknown;
  }

  Match conntrack(const xt_conntrack_mtinfo3& c) const {
    if (c.match_flags != XT_CONNTRACK_STATE) return Match::unknown;
    constexpr uint16_t kNew = 1 << 3, kDnat = 1 << 7;  // XT_CONNTRACK_STATE_BIT(IP_CT_NEW), XT_CONNTRACK_STATE_DNAT
    bool hit = c.state_mask & (kNew | (p_.dnat ? kDnat : 0));
    return hit != bool(c.invert_flags & XT_CONNTRACK_STATE) ? Match::yes : Match::no;
  }

  const TriedPacket& p_;
  Registers regs_;
};

}  // namespace

void each_target(const nftnl_rule* rule, const std::function<void(const std::string&)>& fn) {
  std::unique_ptr<nftnl_expr_iter, void (*)(nftnl_expr_iter*)> it(nftnl_expr_iter_create(rule), nftnl_expr_iter_destroy);
  while (auto* e = it ? nftnl_expr_iter_next(it.get()) : nullptr) {
    if (strcmp(nftnl_expr_get_str(e, NFTNL_EXPR_NAME), "immediate") != 0 || nftnl_expr_get_u32(e, NFTNL_EXPR_IMM_DREG) != NFT_REG_VERDICT) continue;
    if (const char* chain = nftnl_expr_get_str(e, NFTNL_EXPR_IMM_CHAIN)) fn(chain);
  }
}

Judged judge(const nftnl_rule* rule, const TriedPacket& p) { return Judge(p).run(rule); }

}  // namespace base::detail
