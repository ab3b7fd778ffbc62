#include "base/net/packet_filters.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/rule.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "base/net/nft_judge.h"
#include "base/net/nft_socket.h"
#include "base/net/nl_attrs.h"
#include "base/net/xt_filters.h"

namespace base {

using detail::Judgement;
using detail::NfSocket;

namespace {

constexpr int kDepthMax = 16;          // the kernel's own bound of jumps
constexpr size_t kRulesMax = 50'000;   // beyond it the rest is not read, and does not count

struct FreeRule {
  void operator()(nftnl_rule* r) const { nftnl_rule_free(r); }
};
using RulePtr = std::unique_ptr<nftnl_rule, FreeRule>;
using ChainId = std::tuple<uint8_t, std::string, std::string>;  // family, table, chain

struct BaseChain {
  ChainId id;
  uint32_t hook = 0;
  int32_t priority = 0;
  bool drops = false;
};

uint16_t nft_type(int message) { return uint16_t(NFNL_SUBSYS_NFTABLES << 8 | message); }

const char* family_name(uint8_t f) { return f == NFPROTO_IPV4 ? "ip" : f == NFPROTO_IPV6 ? "ip6" : "inet"; }

bool concerns(uint8_t family) { return family == NFPROTO_IPV4 || family == NFPROTO_IPV6 || family == NFPROTO_INET; }

// A hookless chain gives nothing.
std::optional<BaseChain> parse_chain(const nlmsghdr* h, ChainId& id) {
  BaseChain c;
  bool hooked = false;
  std::string table, name;
  for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg))) switch (mnl_attr_get_type(a)) {
    case NFTA_CHAIN_TABLE: table = mnl_attr_get_str(a); break;
    case NFTA_CHAIN_NAME: name = mnl_attr_get_str(a); break;
    case NFTA_CHAIN_POLICY: c.drops = ntohl(mnl_attr_get_u32(a)) == NF_DROP; break;
    case NFTA_CHAIN_HOOK:
      for (const nlattr* b : detail::nested(a)) {
        if (mnl_attr_get_type(b) == NFTA_HOOK_HOOKNUM) c.hook = ntohl(mnl_attr_get_u32(b)), hooked = true;
        if (mnl_attr_get_type(b) == NFTA_HOOK_PRIORITY) c.priority = int32_t(ntohl(mnl_attr_get_u32(b)));
      }
      break;
  }
  id = {static_cast<nfgenmsg*>(mnl_nlmsg_get_payload(h))->nfgen_family, table, name};
  c.id = id;
  return hooked ? std::optional(c) : std::nullopt;
}

Result<std::vector<RulePtr>> rules_of(NfSocket& sock, const ChainId& id) {
  std::vector<RulePtr> out;
  auto& [family, table, chain] = id;
  EM_TRY(sock.dump(nft_type(NFT_MSG_GETRULE), family, [&](nlmsghdr* h) {
    mnl_attr_put_strz(h, NFTA_RULE_TABLE, table.c_str());
    if (!chain.empty()) mnl_attr_put_strz(h, NFTA_RULE_CHAIN, chain.c_str());
  }, [&](const nlmsghdr* h) {
    RulePtr r(nftnl_rule_alloc());
    if (r && nftnl_rule_nlmsg_parse(h, r.get()) == 0) out.push_back(std::move(r));
  }));
  return out;
}

}  // namespace

struct PacketFilters::Tables {
  std::vector<BaseChain> bases;  // forward and input, by priority
  std::map<ChainId, std::vector<RulePtr>> rules;
  std::set<std::pair<uint8_t, std::string>> with_docker_user;  // family, table
  detail::XtTable xt4, xt6;

  enum class End : uint8_t { accept, drop, ret };
  End run(const ChainId&, const TriedPacket&, int depth, std::string& by) const;
};

std::string Refusal::where() const {
  return fmt::format("chain {} of table {} {}{} ({} drops)", chain, family, table, legacy ? " (iptables-legacy)" : "", by);
}

// Chains that iptables jumps to are followed; each chain is read once.
Result<PacketFilters> PacketFilters::read(const std::string& except) {
  auto t = std::make_shared<Tables>();
  EM_TRY_ASSIGN(NfSocket sock, NfSocket::open());
  EM_TRY(sock.dump(nft_type(NFT_MSG_GETCHAIN), NFPROTO_UNSPEC, [](nlmsghdr*) {}, [&](const nlmsghdr* h) {
    ChainId id;
    auto base = parse_chain(h, id);
    auto& [family, table, chain] = id;
    if (!concerns(family) || (family == NFPROTO_INET && table == except)) return;
    if (chain == "DOCKER-USER") t->with_docker_user.insert({family, table});
    if (base && (base->hook == uint32_t(nft::Hook::forward) || base->hook == uint32_t(nft::Hook::input))) t->bases.push_back(*base);
  }));
  std::ranges::sort(t->bases, {}, &BaseChain::priority);
  std::vector<ChainId> todo;
  for (auto& b : t->bases) todo.push_back(b.id);
  for (size_t rules = 0; !todo.empty() && rules < kRulesMax;) {
    ChainId id = todo.back();
    todo.pop_back();
    if (t->rules.contains(id)) continue;
    auto list = rules_of(sock, id);
    if (!list) continue;  // gone meanwhile: the next look sees it
    for (auto& r : *list) {
      detail::each_target(r.get(), [&](const std::string& chain) { todo.push_back({std::get<0>(id), std::get<1>(id), chain}); });
    }
    rules += list->size();
    t->rules[id] = std::move(*list);
  }
  t->xt4 = detail::read_xt_filter(Family::v4);
  t->xt6 = detail::read_xt_filter(Family::v6);
  PacketFilters out;
  out.tables_ = t;
  return out;
}

PacketFilters::Tables::End PacketFilters::Tables::run(const ChainId& id, const TriedPacket& p, int depth, std::string& by) const {
  auto list = rules.find(id);
  if (list == rules.end() || depth > kDepthMax) return End::ret;
  for (auto& r : list->second) {
    auto j = detail::judge(r.get(), p);
    switch (j.what) {
      case Judgement::next: continue;
      case Judgement::accept: return End::accept;
      case Judgement::drop: by = "a rule of chain " + std::get<2>(id); return End::drop;
      case Judgement::ret: return End::ret;
      case Judgement::jump:
      case Judgement::go: {
        End end = run({std::get<0>(id), std::get<1>(id), j.chain}, p, depth + 1, by);
        if (end != End::ret || j.what == Judgement::go) return end;
      }
    }
  }
  return End::ret;
}

std::optional<Refusal> PacketFilters::refuses(const TriedPacket& p) const {
  for (auto& b : tables_->bases) {
    auto& [family, table, chain] = b.id;
    if (b.hook != uint32_t(p.hook) || family == (p.dst.is_v4() ? NFPROTO_IPV6 : NFPROTO_IPV4)) continue;
    std::string by = "its policy";
    auto end = tables_->run(b.id, p, 0, by);
    if (end == Tables::End::accept || (end == Tables::End::ret && !b.drops)) continue;
    Refusal r;
    r.family = family_name(family), r.table = table, r.chain = chain, r.by = by;
    r.iptables = family != NFPROTO_INET && (table == "filter" || table == "mangle" || table == "raw" || table == "security");
    r.docker = p.hook == nft::Hook::forward && tables_->with_docker_user.contains({family, table});
    return r;
  }
  return detail::xt_refuses(p.dst.is_v4() ? tables_->xt4 : tables_->xt6, p);
}

std::string PacketFilters::state() {
  uint32_t generation = 0;
  auto read_generation = [&](const nlmsghdr* h) {
    for (const nlattr* a : detail::attrs(h, sizeof(nfgenmsg)))
      if (mnl_attr_get_type(a) == NFTA_GEN_ID) generation = ntohl(mnl_attr_get_u32(a));
  };
  if (auto sock = NfSocket::open())
    if (auto r = sock->ask(nft_type(NFT_MSG_GETGEN), NFPROTO_UNSPEC, [](nlmsghdr*) {}, read_generation); !r) generation = 0;
  return fmt::format("{} {} {}", generation, detail::xt_state(Family::v4), detail::xt_state(Family::v6));
}

// ---- rules of ours in other programs' chains

static uint8_t family_number(const std::string& name) { return name == "ip" ? NFPROTO_IPV4 : name == "ip6" ? NFPROTO_IPV6 : NFPROTO_INET; }

Result<void> insert_accept(const Refusal& at, const IpAddr& to, const std::string& tag) {
  if (at.legacy) return fail(Code::unsupported, "{}: only iptables-legacy itself can change it", at.where());
  nft::Batch b(at.table, family_number(at.family));
  nft::Rule r;
  if (at.family == "inet") r.family_is(to.family());
  r.daddr(to.family(), 0).equal(0, to.bytes()).counter().accept();
  b.insert_rule(at.chain, r, tag);
  return b.send();
}

static bool carries(const nftnl_rule* r, const std::string& tag) {
  uint32_t n = 0;
  auto* data = static_cast<const char*>(nftnl_rule_get_data(r, NFTNL_RULE_USERDATA, &n));
  return data && std::string_view(data, n).find(tag) != std::string_view::npos;
}

Result<size_t> remove_tagged_rules(const std::string& tag) {
  struct Found {
    ChainId id;
    uint64_t handle;
  };
  std::vector<Found> found;
  EM_TRY_ASSIGN(NfSocket sock, NfSocket::open());
  EM_TRY(sock.dump(nft_type(NFT_MSG_GETRULE), NFPROTO_UNSPEC, [](nlmsghdr*) {}, [&](const nlmsghdr* h) {
    RulePtr r(nftnl_rule_alloc());
    if (!r || nftnl_rule_nlmsg_parse(h, r.get()) < 0 || !carries(r.get(), tag)) return;
    auto family = static_cast<nfgenmsg*>(mnl_nlmsg_get_payload(h))->nfgen_family;
    found.push_back({{family, nftnl_rule_get_str(r.get(), NFTNL_RULE_TABLE), nftnl_rule_get_str(r.get(), NFTNL_RULE_CHAIN)},
                     nftnl_rule_get_u64(r.get(), NFTNL_RULE_HANDLE)});
  }));
  for (auto& f : found) {
    nft::Batch b(std::get<1>(f.id), std::get<0>(f.id));
    b.delete_rule(std::get<2>(f.id), f.handle);
    EM_TRY(b.send());
  }
  return found.size();
}

}  // namespace base
