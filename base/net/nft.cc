#include "base/net/nft.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <endian.h>
#include <sys/socket.h>

#include <cerrno>

#include "base/core/assert.h"
#include "base/core/unique_fd.h"
#include "base/net/nft_socket.h"
#include "base/net/nl_attrs.h"

namespace base::nft {
namespace {

constexpr size_t kElementsPendingMax = 256;        // of one set: memory, not the kernel, is the bound
constexpr size_t kElementMessageBytes = 32 << 10;  // a nested attribute's length has 16 bits

size_t field_size(Type t) {
  switch (t) {
    case Type::ipv4: return 4;
    case Type::ipv6: return 16;
    case Type::inet_proto: return 1;
    case Type::inet_service: return 2;
    case Type::mark: return 4;
    case Type::ifname: return 16;
  }
  return 4;
}

// nft packs the types of a concatenation six bits each, first field highest.
uint32_t packed_type(const std::vector<Type>& fields) {
  uint32_t t = 0;
  for (Type f : fields) t = t << 6 | uint32_t(f);
  return t;
}

// A lone field has its own size; fields of a concatenation are padded.
uint32_t packed_size(const std::vector<Type>& fields) {
  if (fields.size() == 1) return uint32_t(field_size(fields[0]));
  size_t n = 0;
  for (Type f : fields) n += padded_size(f);
  return uint32_t(n);
}

void put_value(nlmsghdr* h, uint16_t attr, const ByteVec& bytes) {
  nlattr* n = mnl_attr_nest_start(h, attr);
  mnl_attr_put(h, NFTA_DATA_VALUE, bytes.size(), bytes.data());
  mnl_attr_nest_end(h, n);
}

void put_goto(nlmsghdr* h, const std::string& chain) {
  nlattr* data = mnl_attr_nest_start(h, NFTA_SET_ELEM_DATA);
  nlattr* verdict = mnl_attr_nest_start(h, NFTA_DATA_VERDICT);
  mnl_attr_put_u32(h, NFTA_VERDICT_CODE, htonl(uint32_t(NFT_GOTO)));
  mnl_attr_put_strz(h, NFTA_VERDICT_CHAIN, chain.c_str());
  mnl_attr_nest_end(h, verdict);
  mnl_attr_nest_end(h, data);
}

void put_element(nlmsghdr* h, const Element& e, bool with_data) {
  nlattr* n = mnl_attr_nest_start(h, NFTA_LIST_ELEM);
  if (e.interval_end) mnl_attr_put_u32(h, NFTA_SET_ELEM_FLAGS, htonl(NFT_SET_ELEM_INTERVAL_END));
  put_value(h, NFTA_SET_ELEM_KEY, e.key);
  if (with_data && !e.goto_chain.empty()) put_goto(h, e.goto_chain);
  else if (with_data && !e.data.empty()) put_value(h, NFTA_SET_ELEM_DATA, e.data);
  if (with_data && e.timeout.count()) {
    mnl_attr_put_u64(h, NFTA_SET_ELEM_TIMEOUT, htobe64(uint64_t(e.timeout.count())));
    mnl_attr_put_u64(h, NFTA_SET_ELEM_EXPIRATION, htobe64(uint64_t(e.left.count())));
  }
  mnl_attr_nest_end(h, n);
}

size_t element_room(const Element& e) { return 64 + e.key.size() + e.data.size() + e.goto_chain.size(); }

}  // namespace

size_t padded_size(Type t) { return (field_size(t) + 3) / 4 * 4; }

void Key::put(ByteView b) {
  b_.insert(b_.end(), b.begin(), b.end());
  while (b_.size() % 4) b_.push_back(0);
}

Key& Key::ifname(std::string_view name) {
  uint8_t b[16] = {};
  memcpy(b, name.data(), std::min(name.size(), sizeof b - 1));
  put(b);
  return *this;
}

std::vector<Element> prefix_elements(const Cidr& c) {
  ByteVec start(c.ip.bytes().begin(), c.ip.bytes().end()), end = start;
  int at = int(c.len) - 1;
  while (at >= 0) {  // the first address behind: add one at the prefix's last bit, carrying
    uint8_t bit = uint8_t(0x80 >> (at % 8));
    end[size_t(at / 8)] ^= bit;
    if (end[size_t(at / 8)] & bit) break;
    --at;
  }
  std::vector<Element> out{{.key = start, .data = {}, .goto_chain = {}, .interval_end = false}};
  if (at >= 0) out.push_back({.key = end, .data = {}, .goto_chain = {}, .interval_end = true});
  return out;  // at < 0: the prefix reaches the end of the address space and stays open
}

Batch::Batch(std::string table) : Batch(std::move(table), NFPROTO_INET) {}

Batch::Batch(std::string table, uint8_t family) : table_(std::move(table)), family_(family) {
  uint8_t* at = begin(64);
  auto* h = nftnl_batch_begin(reinterpret_cast<char*>(at), 0);
  buf_.resize(h->nlmsg_len);
}

uint8_t* Batch::begin(size_t room) {
  last_at_ = buf_.size();
  if (buf_.capacity() < last_at_ + room) buf_.reserve((last_at_ + room) * 2);
  buf_.resize(last_at_ + room);
  return buf_.data() + last_at_;
}

// Message number k (from 1) carries sequence number k, so an error leads to objects_[k - 1].
void Batch::end(const void* nlmsg, std::string object) {
  auto* h = static_cast<const nlmsghdr*>(nlmsg);
  EM_ASSERT(last_at_ + h->nlmsg_len <= buf_.size());
  buf_.resize(last_at_ + MNL_ALIGN(h->nlmsg_len));
  objects_.push_back(std::move(object));
}

#define EM_NFT_HDR(type, flags, room) \
  nftnl_nlmsg_build_hdr(reinterpret_cast<char*>(begin(room)), type, family_, flags, uint32_t(objects_.size() + 1))

void Batch::add_table() {
  auto* h = EM_NFT_HDR(NFT_MSG_NEWTABLE, NLM_F_CREATE, 256);
  mnl_attr_put_strz(h, NFTA_TABLE_NAME, table_.c_str());
  end(h, "table inet " + table_);
}

void Batch::delete_table() {
  auto* h = EM_NFT_HDR(NFT_MSG_DELTABLE, 0, 256);
  mnl_attr_put_strz(h, NFTA_TABLE_NAME, table_.c_str());
  end(h, "table inet " + table_);
}

void Batch::add_chain(const std::string& name) {
  auto* h = EM_NFT_HDR(NFT_MSG_NEWCHAIN, NLM_F_CREATE, 512);
  mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table_.c_str());
  mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name.c_str());
  end(h, "chain " + name);
}

void Batch::add_base_chain(const std::string& name, const char* type, Hook hook, int32_t priority) {
  auto* h = EM_NFT_HDR(NFT_MSG_NEWCHAIN, NLM_F_CREATE, 512);
  mnl_attr_put_strz(h, NFTA_CHAIN_TABLE, table_.c_str());
  mnl_attr_put_strz(h, NFTA_CHAIN_NAME, name.c_str());
  nlattr* n = mnl_attr_nest_start(h, NFTA_CHAIN_HOOK);
  mnl_attr_put_u32(h, NFTA_HOOK_HOOKNUM, htonl(uint32_t(hook)));
  mnl_attr_put_u32(h, NFTA_HOOK_PRIORITY, htonl(uint32_t(priority)));
  mnl_attr_nest_end(h, n);
  mnl_attr_put_u32(h, NFTA_CHAIN_POLICY, htonl(NF_ACCEPT));
  mnl_attr_put_strz(h, NFTA_CHAIN_TYPE, type);
  end(h, "chain " + name);
}

void Batch::add_set(const SetSpec& s) {
  std::unique_ptr<nftnl_set, void (*)(const nftnl_set*)> set(nftnl_set_alloc(), nftnl_set_free);
  uint32_t flags = 0;
  if (s.interval) flags |= NFT_SET_INTERVAL;
  if (s.dynamic) flags |= NFT_SET_EVAL | NFT_SET_TIMEOUT;
  if (!s.data.empty() || s.verdict_map) flags |= NFT_SET_MAP;
  nftnl_set_set_str(set.get(), NFTNL_SET_TABLE, table_.c_str());
  nftnl_set_set_str(set.get(), NFTNL_SET_NAME, s.name.c_str());
  nftnl_set_set_u32(set.get(), NFTNL_SET_FAMILY, NFPROTO_INET);
  nftnl_set_set_u32(set.get(), NFTNL_SET_ID, uint32_t(objects_.size() + 1));
  nftnl_set_set_u32(set.get(), NFTNL_SET_FLAGS, flags);
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_TYPE, packed_type(s.key));
  nftnl_set_set_u32(set.get(), NFTNL_SET_KEY_LEN, packed_size(s.key));
  if (s.size) nftnl_set_set_u32(set.get(), NFTNL_SET_DESC_SIZE, s.size);
  if (s.verdict_map) nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
  if (!s.data.empty()) {
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_TYPE, packed_type(s.data));
    nftnl_set_set_u32(set.get(), NFTNL_SET_DATA_LEN, packed_size(s.data));
  }
  auto* h = EM_NFT_HDR(NFT_MSG_NEWSET, NLM_F_CREATE, 1024);
  nftnl_set_nlmsg_build_payload(h, set.get());
  end(h, (s.data.empty() ? "set " : "map ") + s.name);
}

void Batch::put_rule(const std::string& chain, const Rule& rule, uint16_t flags) {
  nftnl_rule* r = rule.r_.get();
  nftnl_rule_set_str(r, NFTNL_RULE_TABLE, table_.c_str());
  nftnl_rule_set_str(r, NFTNL_RULE_CHAIN, chain.c_str());
  nftnl_rule_set_u32(r, NFTNL_RULE_FAMILY, family_);
  auto* h = EM_NFT_HDR(NFT_MSG_NEWRULE, flags, 8192);
  nftnl_rule_nlmsg_build_payload(h, r);
  end(h, "a rule of chain " + chain);
}

void Batch::add_rule(const std::string& chain, const Rule& rule) { put_rule(chain, rule, NLM_F_CREATE | NLM_F_APPEND); }

// The comment in the form that nft and iptables-nft print: type 0, length, text with its end.
void Batch::insert_rule(const std::string& chain, const Rule& rule, const std::string& comment) {
  ByteVec user{0, uint8_t(comment.size() + 1)};
  user.insert(user.end(), comment.begin(), comment.end());
  user.push_back(0);
  nftnl_rule_set_data(rule.r_.get(), NFTNL_RULE_USERDATA, user.data(), uint32_t(user.size()));
  put_rule(chain, rule, NLM_F_CREATE);
}

void Batch::delete_rule(const std::string& chain, uint64_t handle) {
  auto* h = EM_NFT_HDR(NFT_MSG_DELRULE, 0, 512);
  mnl_attr_put_strz(h, NFTA_RULE_TABLE, table_.c_str());
  mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain.c_str());
  mnl_attr_put_u64(h, NFTA_RULE_HANDLE, htobe64(handle));
  end(h, "a rule of chain " + chain);
}

void Batch::elements(uint16_t type, const std::string& set, const std::vector<Element>& list) {
  bool adding = type == NFT_MSG_NEWSETELEM;
  for (size_t i = 0; i < list.size();) {
    size_t room = 512;
    size_t to = i;
    while (to < list.size() && room + element_room(list[to]) < kElementMessageBytes) room += element_room(list[to++]);
    auto* h = EM_NFT_HDR(type, uint16_t(adding ? NLM_F_CREATE | NLM_F_EXCL : 0), room);
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table_.c_str());
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set.c_str());
    nlattr* n = mnl_attr_nest_start(h, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (; i < to; ++i) put_element(h, list[i], adding);
    mnl_attr_nest_end(h, n);
    end(h, std::string(adding ? "adding to " : "deleting from ") + "set " + set);
  }
}

void Batch::write_pending(const std::string& set, Pending& p) {
  elements(NFT_MSG_DELSETELEM, set, std::exchange(p.gone, {}));
  elements(NFT_MSG_NEWSETELEM, set, std::exchange(p.come, {}));
}

void Batch::add_elements(const std::string& set, const std::vector<Element>& l) {
  Pending& p = pending_[set];
  p.come.insert(p.come.end(), l.begin(), l.end());
  if (p.come.size() >= kElementsPendingMax) write_pending(set, p);
}

void Batch::delete_elements(const std::string& set, const std::vector<Element>& l) {
  Pending& p = pending_[set];
  p.gone.insert(p.gone.end(), l.begin(), l.end());
}

void Batch::flush_set(const std::string& set) {
  if (auto p = pending_.extract(set)) write_pending(set, p.mapped());
  auto* h = EM_NFT_HDR(NFT_MSG_DELSETELEM, 0, 512);
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table_.c_str());
  mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set.c_str());
  end(h, "set " + set);
}

Result<void> Batch::send() {
  for (auto& [set, p] : pending_) write_pending(set, p);
  pending_.clear();
  if (objects_.empty()) return {};
  if (buf_.size() > kBatchBytesMax)
    return fail(Code::limit, "table inet {}: {} bytes of changes are more than one transaction may carry ({})", table_, buf_.size(),
                kBatchBytesMax);
  reinterpret_cast<nlmsghdr*>(buf_.data() + last_at_)->nlmsg_flags |= NLM_F_ACK;
  begin(64);
  auto* h = nftnl_batch_end(reinterpret_cast<char*>(buf_.data() + last_at_), uint32_t(objects_.size() + 1));
  buf_.resize(last_at_ + h->nlmsg_len);
  EM_TRY_ASSIGN(detail::NfSocket sock, detail::NfSocket::open());
  if (auto r = sock.send(buf_); !r) return fail_in("table inet " + table_, r.error());
  return sock.read_verdict([this](uint32_t seq) {
    bool known = seq >= 1 && seq <= objects_.size();
    return "table inet " + table_ + (known ? ": " + objects_[seq - 1] : "");
  });
}

namespace {

Result<std::vector<std::string>> list_names(uint16_t type, uint16_t name_attr, uint16_t table_attr, const std::string& table) {
  std::vector<std::string> out;
  EM_TRY_ASSIGN(detail::NfSocket sock, detail::NfSocket::open());
  EM_TRY(sock.dump(uint16_t(NFNL_SUBSYS_NFTABLES << 8 | type), NFPROTO_INET, [&](nlmsghdr* h) {
    if (!table.empty()) mnl_attr_put_strz(h, table_attr, table.c_str());
  }, [&](const nlmsghdr* h) {
    std::string name, owner;
    for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg))) {
      if (mnl_attr_get_type(a) == name_attr) name = mnl_attr_get_str(a);
      if (table_attr != name_attr && mnl_attr_get_type(a) == table_attr) owner = mnl_attr_get_str(a);
    }
    if (table.empty() || owner == table) out.push_back(name);
  }));
  return out;
}

ByteVec value_of(const nlattr* nest) {
  for (const nlattr* a : detail::nested(nest)) {
    auto* p = static_cast<const uint8_t*>(mnl_attr_get_payload(a));
    if (mnl_attr_get_type(a) == NFTA_DATA_VALUE) return ByteVec(p, p + mnl_attr_get_payload_len(a));
  }
  return {};
}

std::string goto_of(const nlattr* data) {
  for (const nlattr* v : detail::nested(data)) {
    if (mnl_attr_get_type(v) != NFTA_DATA_VERDICT) continue;
    for (const nlattr* a : detail::nested(v)) {
      if (mnl_attr_get_type(a) == NFTA_VERDICT_CHAIN) return mnl_attr_get_str(a);
    }
  }
  return {};
}

Element element_of(const nlattr* nest) {
  Element e;
  for (const nlattr* a : detail::nested(nest)) {
    if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY) e.key = value_of(a);
    if (mnl_attr_get_type(a) == NFTA_SET_ELEM_DATA) e.data = value_of(a), e.goto_chain = goto_of(a);
    if (mnl_attr_get_type(a) == NFTA_SET_ELEM_TIMEOUT) e.timeout = std::chrono::milliseconds(be64toh(mnl_attr_get_u64(a)));
    if (mnl_attr_get_type(a) == NFTA_SET_ELEM_EXPIRATION) e.left = std::chrono::milliseconds(be64toh(mnl_attr_get_u64(a)));
    if (mnl_attr_get_type(a) == NFTA_SET_ELEM_FLAGS) e.interval_end = ntohl(mnl_attr_get_u32(a)) & NFT_SET_ELEM_INTERVAL_END;
  }
  return e;
}

}  // namespace

Result<std::vector<std::string>> tables() { return list_names(NFT_MSG_GETTABLE, NFTA_TABLE_NAME, NFTA_TABLE_NAME, ""); }

Result<std::vector<std::string>> chains(const std::string& table) {
  return list_names(NFT_MSG_GETCHAIN, NFTA_CHAIN_NAME, NFTA_CHAIN_TABLE, table);
}

Result<std::vector<Element>> elements(const std::string& table, const std::string& set) {
  std::vector<Element> out;
  EM_TRY_ASSIGN(detail::NfSocket sock, detail::NfSocket::open());
  EM_TRY(sock.dump(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETSETELEM, NFPROTO_INET, [&](nlmsghdr* h) {
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_TABLE, table.c_str());
    mnl_attr_put_strz(h, NFTA_SET_ELEM_LIST_SET, set.c_str());
  }, [&](const nlmsghdr* h) {
    for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg))) {
      if (mnl_attr_get_type(a) != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
      for (const nlattr* e : detail::nested(a)) out.push_back(element_of(e));
    }
  }));
  return out;
}

}  // namespace base::nft
