// The expressions of nf_tables rules (base/net/nft.h, class Rule).
#include <cstdio>

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/rtnetlink.h>

#include "base/core/assert.h"
#include "base/net/nft.h"

namespace base::nft {
namespace {

constexpr int kScratch = 15;  // the register matches use for themselves (interface names: 12..15)
constexpr int kNameScratch = 12;

uint32_t reg(int n) { return uint32_t(NFT_REG32_00 + n); }

nftnl_expr* add(nftnl_rule* r, const char* name) {
  nftnl_expr* e = nftnl_expr_alloc(name);
  EM_ASSERT(e != nullptr);
  nftnl_rule_add_expr(r, e);
  return e;
}

void payload(nftnl_rule* r, uint32_t base, uint32_t offset, uint32_t len, int to) {
  auto* e = add(r, "payload");
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, base);
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, offset);
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, len);
  nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, reg(to));
}

void cmp(nftnl_rule* r, uint32_t op, int from, ByteView v) {
  auto* e = add(r, "cmp");
  nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, reg(from));
  nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, op);
  nftnl_expr_set_data(e, NFTNL_EXPR_CMP_DATA, v.data(), uint32_t(v.size()));
}

void bit_and(nftnl_rule* r, int from, ByteView mask) {
  ByteVec zero(mask.size(), 0);
  auto* e = add(r, "bitwise");
  nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, reg(from));
  nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, reg(from));
  nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_OP, NFT_BITWISE_BOOL);
  nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, uint32_t(mask.size()));
  nftnl_expr_set_data(e, NFTNL_EXPR_BITWISE_MASK, mask.data(), uint32_t(mask.size()));
  nftnl_expr_set_data(e, NFTNL_EXPR_BITWISE_XOR, zero.data(), uint32_t(zero.size()));
}

void mask_to(nftnl_rule* r, int from, const Cidr& c) {
  ByteVec mask(c.ip.bytes().size(), 0);
  for (size_t i = 0; i < c.len; ++i) mask[i / 8] |= uint8_t(0x80 >> (i % 8));
  if (c.len < mask.size() * 8) bit_and(r, from, mask);
}

nftnl_expr* lookup(nftnl_rule* r, std::string_view set, int from) {
  auto* e = add(r, "lookup");
  nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, std::string(set).c_str());
  nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, reg(from));
  return e;
}

void numgen(nftnl_rule* r, uint32_t type, uint32_t modulus, int to) {
  auto* e = add(r, "numgen");
  nftnl_expr_set_u32(e, NFTNL_EXPR_NG_DREG, reg(to));
  nftnl_expr_set_u32(e, NFTNL_EXPR_NG_MODULUS, modulus);
  nftnl_expr_set_u32(e, NFTNL_EXPR_NG_TYPE, type);
  nftnl_expr_set_u32(e, NFTNL_EXPR_NG_OFFSET, 0);
}

void verdict(nftnl_rule* r, int code, std::string_view chain = {}) {
  auto* e = add(r, "immediate");
  nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
  nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, uint32_t(code));
  if (!chain.empty()) nftnl_expr_set_str(e, NFTNL_EXPR_IMM_CHAIN, std::string(chain).c_str());
}

void fib_type_local(nftnl_rule* r, uint32_t which) {
  auto* e = add(r, "fib");
  nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_DREG, reg(kScratch));
  nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
  nftnl_expr_set_u32(e, NFTNL_EXPR_FIB_FLAGS, which);
  uint32_t local = RTN_LOCAL;
  cmp(r, NFT_CMP_EQ, kScratch, {reinterpret_cast<uint8_t*>(&local), 4});
}

void dynset(nftnl_rule* r, uint32_t op, std::string_view set, int key, int data, uint64_t timeout_ms) {
  auto* e = add(r, "dynset");
  nftnl_expr_set_str(e, NFTNL_EXPR_DYNSET_SET_NAME, std::string(set).c_str());
  nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_OP, op);
  nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_KEY, reg(key));
  nftnl_expr_set_u32(e, NFTNL_EXPR_DYNSET_SREG_DATA, reg(data));
  if (timeout_ms) nftnl_expr_set_u64(e, NFTNL_EXPR_DYNSET_TIMEOUT, timeout_ms);
}

void reject(nftnl_rule* r, uint32_t type, uint8_t code) {
  auto* e = add(r, "reject");
  nftnl_expr_set_u32(e, NFTNL_EXPR_REJECT_TYPE, type);
  nftnl_expr_set_u8(e, NFTNL_EXPR_REJECT_CODE, code);
}

ByteVec padded_name(std::string_view name) { return Key().ifname(name).take(); }
uint32_t family_number(Family f) { return f == Family::v4 ? NFPROTO_IPV4 : NFPROTO_IPV6; }

}  // namespace

void Rule::Free::operator()(nftnl_rule* r) const { nftnl_rule_free(r); }
Rule::Rule() : r_(nftnl_rule_alloc()) {}
Rule::Rule(Rule&&) noexcept = default;
Rule::~Rule() = default;

Rule& Rule::saddr(Family f, int to) {
  bool v4 = f == Family::v4;
  payload(r_.get(), NFT_PAYLOAD_NETWORK_HEADER, v4 ? 12 : 8, v4 ? 4 : 16, to);
  return *this;
}
Rule& Rule::daddr(Family f, int to) {
  bool v4 = f == Family::v4;
  payload(r_.get(), NFT_PAYLOAD_NETWORK_HEADER, v4 ? 16 : 24, v4 ? 4 : 16, to);
  return *this;
}
Rule& Rule::dport(int to) { payload(r_.get(), NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, to); return *this; }
Rule& Rule::meta(MetaKey k, int to) {
  auto* e = add(r_.get(), "meta");
  nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, uint32_t(k));
  nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, reg(to));
  return *this;
}
Rule& Rule::ct(CtKey k, int to) {
  auto* e = add(r_.get(), "ct");
  nftnl_expr_set_u32(e, NFTNL_EXPR_CT_KEY, uint32_t(k));
  nftnl_expr_set_u32(e, NFTNL_EXPR_CT_DREG, reg(to));
  return *this;
}
Rule& Rule::numgen_random(uint32_t m, int to) { numgen(r_.get(), NFT_NG_RANDOM, m, to); return *this; }
Rule& Rule::numgen_inc(uint32_t m, int to) { numgen(r_.get(), NFT_NG_INCREMENTAL, m, to); return *this; }
Rule& Rule::jhash(int from, uint32_t len, uint32_t modulus, uint32_t seed, int to) {
  auto* e = add(r_.get(), "hash");
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_SREG, reg(from));
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_DREG, reg(to));
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_LEN, len);
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_MODULUS, modulus);
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_SEED, seed);
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_OFFSET, 0);
  nftnl_expr_set_u32(e, NFTNL_EXPR_HASH_TYPE, NFT_HASH_JENKINS);
  return *this;
}
Rule& Rule::immediate(int to, ByteView v) {
  auto* e = add(r_.get(), "immediate");
  nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, reg(to));
  nftnl_expr_set_data(e, NFTNL_EXPR_IMM_DATA, v.data(), uint32_t(v.size()));
  return *this;
}

Rule& Rule::equal(int from, ByteView v) { cmp(r_.get(), NFT_CMP_EQ, from, v); return *this; }
Rule& Rule::not_equal(int from, ByteView v) { cmp(r_.get(), NFT_CMP_NEQ, from, v); return *this; }
Rule& Rule::any_bit(int from, uint32_t mask) {
  uint32_t zero = 0;
  bit_and(r_.get(), from, {reinterpret_cast<uint8_t*>(&mask), 4});
  return not_equal(from, {reinterpret_cast<uint8_t*>(&zero), 4});
}
Rule& Rule::prefix(int from, const Cidr& c) { return mask_to(r_.get(), from, c), equal(from, c.ip.bytes()); }
Rule& Rule::not_prefix(int from, const Cidr& c) { return mask_to(r_.get(), from, c), not_equal(from, c.ip.bytes()); }
Rule& Rule::in_set(std::string_view set, int from) { lookup(r_.get(), set, from); return *this; }
Rule& Rule::not_in_set(std::string_view set, int from) {
  nftnl_expr_set_u32(lookup(r_.get(), set, from), NFTNL_EXPR_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  return *this;
}
Rule& Rule::from_map(std::string_view map, int from, int to) {
  nftnl_expr_set_u32(lookup(r_.get(), map, from), NFTNL_EXPR_LOOKUP_DREG, reg(to));
  return *this;
}
Rule& Rule::vmap(std::string_view map, int from) {
  nftnl_expr_set_u32(lookup(r_.get(), map, from), NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
  return *this;
}
Rule& Rule::daddr_is_local() { fib_type_local(r_.get(), NFTA_FIB_F_DADDR); return *this; }
Rule& Rule::saddr_is_local() { fib_type_local(r_.get(), NFTA_FIB_F_SADDR); return *this; }
Rule& Rule::family_is(Family f) {
  uint8_t n = uint8_t(family_number(f));
  return meta(MetaKey::nfproto, kScratch).equal(kScratch, {&n, 1});
}
Rule& Rule::l4proto_is(Proto p) {
  uint8_t n = uint8_t(p);
  return meta(MetaKey::l4proto, kScratch).equal(kScratch, {&n, 1});
}
Rule& Rule::is_icmp(Family f) {
  uint8_t n = uint8_t(f == Family::v4 ? +IPPROTO_ICMP : +IPPROTO_ICMPV6);
  return meta(MetaKey::l4proto, kScratch).equal(kScratch, {&n, 1});
}
Rule& Rule::iif_is(std::string_view n) { return meta(MetaKey::iifname, kNameScratch).equal(kNameScratch, padded_name(n)); }
Rule& Rule::oif_is(std::string_view n) { return meta(MetaKey::oifname, kNameScratch).equal(kNameScratch, padded_name(n)); }
Rule& Rule::iif_is_not(std::string_view n) { return meta(MetaKey::iifname, kNameScratch).not_equal(kNameScratch, padded_name(n)); }
Rule& Rule::oif_is_not(std::string_view n) { return meta(MetaKey::oifname, kNameScratch).not_equal(kNameScratch, padded_name(n)); }
Rule& Rule::ct_state(uint32_t bits) { return ct(CtKey::state, kScratch).any_bit(kScratch, bits); }
Rule& Rule::ct_dnat() { return ct(CtKey::status, kScratch).any_bit(kScratch, kCtStatusDnat); }
Rule& Rule::ct_reply_direction(bool reply) {
  uint8_t n = reply ? 1 : 0;
  return ct(CtKey::direction, kScratch).equal(kScratch, {&n, 1});
}
Rule& Rule::mark_bit(uint32_t bit) { return meta(MetaKey::mark, kScratch).any_bit(kScratch, bit); }

Rule& Rule::set_priority(int from) {
  auto* e = add(r_.get(), "meta");
  nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_PRIORITY);
  nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, reg(from));
  return *this;
}
Rule& Rule::counter() { add(r_.get(), "counter"); return *this; }
Rule& Rule::log(uint16_t group, uint32_t bytes) {
  auto* e = add(r_.get(), "log");
  nftnl_expr_set_u16(e, NFTNL_EXPR_LOG_GROUP, group);
  nftnl_expr_set_u32(e, NFTNL_EXPR_LOG_SNAPLEN, bytes);
  return *this;
}
Rule& Rule::update(std::string_view set, int key, int data, std::chrono::milliseconds timeout) {
  dynset(r_.get(), NFT_DYNSET_OP_UPDATE, set, key, data, uint64_t(timeout.count()));
  return *this;
}
Rule& Rule::erase(std::string_view set, int key, int data) {
  dynset(r_.get(), NFT_DYNSET_OP_DELETE, set, key, data, 0);
  return *this;
}
Rule& Rule::clamp_mss() {
  constexpr uint8_t kSyn[] = {0x02}, kNone[] = {0};
  constexpr uint32_t kFlagsOffset = 13, kMssOption = 2, kMssOffset = 2;
  l4proto_is(Proto::tcp);
  payload(r_.get(), NFT_PAYLOAD_TRANSPORT_HEADER, kFlagsOffset, 1, kScratch);
  bit_and(r_.get(), kScratch, kSyn);
  cmp(r_.get(), NFT_CMP_NEQ, kScratch, kNone);
  auto* route = add(r_.get(), "rt");
  nftnl_expr_set_u32(route, NFTNL_EXPR_RT_KEY, NFT_RT_TCPMSS);
  nftnl_expr_set_u32(route, NFTNL_EXPR_RT_DREG, reg(kScratch));
  auto* order = add(r_.get(), "byteorder");
  nftnl_expr_set_u32(order, NFTNL_EXPR_BYTEORDER_SREG, reg(kScratch));
  nftnl_expr_set_u32(order, NFTNL_EXPR_BYTEORDER_DREG, reg(kScratch));
  nftnl_expr_set_u32(order, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
  nftnl_expr_set_u32(order, NFTNL_EXPR_BYTEORDER_LEN, 2);
  nftnl_expr_set_u32(order, NFTNL_EXPR_BYTEORDER_SIZE, 2);
  auto* write = add(r_.get(), "exthdr");
  nftnl_expr_set_u32(write, NFTNL_EXPR_EXTHDR_SREG, reg(kScratch));
  nftnl_expr_set_u8(write, NFTNL_EXPR_EXTHDR_TYPE, kMssOption);
  nftnl_expr_set_u32(write, NFTNL_EXPR_EXTHDR_OFFSET, kMssOffset);
  nftnl_expr_set_u32(write, NFTNL_EXPR_EXTHDR_LEN, 2);
  nftnl_expr_set_u32(write, NFTNL_EXPR_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
  return *this;
}
Rule& Rule::dnat(Family f, int addr_reg, int port_reg) {
  auto* e = add(r_.get(), "nat");
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_DNAT);
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, family_number(f));
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(addr_reg));
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_PROTO_MIN, reg(port_reg));
  return *this;
}
Rule& Rule::snat(Family f, int addr_reg) {
  auto* e = add(r_.get(), "nat");
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_TYPE, NFT_NAT_SNAT);
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_FAMILY, family_number(f));
  nftnl_expr_set_u32(e, NFTNL_EXPR_NAT_REG_ADDR_MIN, reg(addr_reg));
  return *this;
}
Rule& Rule::masquerade() { add(r_.get(), "masq"); return *this; }
Rule& Rule::reject_tcp_reset() { reject(r_.get(), NFT_REJECT_TCP_RST, 0); return *this; }
Rule& Rule::reject_port_unreachable() { reject(r_.get(), NFT_REJECT_ICMPX_UNREACH, NFT_REJECT_ICMPX_PORT_UNREACH); return *this; }
Rule& Rule::accept() { verdict(r_.get(), NF_ACCEPT); return *this; }
Rule& Rule::drop() { verdict(r_.get(), NF_DROP); return *this; }
Rule& Rule::ret() { verdict(r_.get(), NFT_RETURN); return *this; }
Rule& Rule::jump(std::string_view c) { verdict(r_.get(), NFT_JUMP, c); return *this; }
Rule& Rule::go(std::string_view c) { verdict(r_.get(), NFT_GOTO, c); return *this; }

}  // namespace base::nft
