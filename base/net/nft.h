// nftables as transactions: a Batch collects tables, chains, sets, rules and elements of ONE table and sends them as one raw
// nf_tables batch: the kernel takes all of it or nothing. No text, no libnftables (it aborts the process on some rules).
//
// Registers are numbered 0..15 (32 bits each). A concatenated key is what stands in consecutive registers, every field padded
// to 4 bytes; key() builds the same bytes for elements. Sets carry plain types and no userdata, so that `nft list` prints them.
// Blocking, control loop only. A Batch is used once.
#pragma once
#include <chrono>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/bytes.h"
#include "base/core/result.h"
#include "base/net/addr.h"

struct nftnl_rule;

namespace base::nft {

inline constexpr size_t kBatchBytesMax = 192 << 20;  // 5,000 services x 1021 slots would be more: refused, named

// nft's own numbers for set key fields (what `nft list` prints for "type").
enum class Type : uint32_t { ipv4 = 7, ipv6 = 8, inet_proto = 12, inet_service = 13, mark = 19, ifname = 41 };
size_t padded_size(Type);

struct SetSpec {
  std::string name;
  std::vector<Type> key;
  std::vector<Type> data;      // a map when not empty
  bool verdict_map = false;    // data is a verdict (goto a chain)
  bool interval = false;       // one field; elements are [start, end)
  bool dynamic = false;        // filled by packets, entries time out
  uint32_t size = 0;           // bound; required for dynamic sets
};

struct Element {
  ByteVec key;
  ByteVec data;                // of a map
  std::string goto_chain;      // of a verdict map
  bool interval_end = false;
  std::chrono::milliseconds timeout{0}, left{0};  // of a learned one: its whole life and what remains; 0: it stays
  bool operator==(const Element&) const = default;
};

// Key and data bytes, field by field.
class Key {
 public:
  Key& addr(const IpAddr& a) { put(a.bytes()); return *this; }
  Key& proto(Proto p) { uint8_t b = uint8_t(p); put({&b, 1}); return *this; }
  Key& port(uint16_t p) { uint8_t b[2]; store_be16(b, p); put(b); return *this; }
  Key& number(uint32_t v) { uint8_t b[4]; memcpy(b, &v, 4); put(b); return *this; }  // host order, as numgen and jhash leave it
  Key& ifname(std::string_view);
  ByteVec take() { return std::move(b_); }

 private:
  void put(ByteView);
  ByteVec b_;
};

// The two elements of an interval set that stand for a prefix.
std::vector<Element> prefix_elements(const Cidr&);

enum class Hook : uint8_t { prerouting = 0, input = 1, forward = 2, output = 3, postrouting = 4 };
enum class MetaKey : uint32_t { priority = 2, mark = 3, iifname = 6, oifname = 7, nfproto = 15, l4proto = 16 };
enum class CtKey : uint32_t { state = 0, direction = 1, status = 2 };
inline constexpr uint32_t kCtNew = 8, kCtEstablished = 2, kCtRelated = 4, kCtInvalid = 1;
inline constexpr uint32_t kCtStatusDnat = 1 << 5;

// One rule: expressions in order; the first that does not match ends it.
class Rule {
 public:
  Rule();
  Rule(Rule&&) noexcept;
  ~Rule();
  // loads
  Rule& saddr(Family, int reg);
  Rule& daddr(Family, int reg);
  Rule& dport(int reg);
  Rule& meta(MetaKey, int reg);
  Rule& ct(CtKey, int reg);
  Rule& numgen_random(uint32_t modulus, int reg);
  Rule& numgen_inc(uint32_t modulus, int reg);
  Rule& jhash(int from_reg, uint32_t len, uint32_t modulus, uint32_t seed, int reg);
  Rule& immediate(int reg, ByteView value);
  // matches
  Rule& equal(int reg, ByteView value);
  Rule& not_equal(int reg, ByteView value);
  Rule& any_bit(int reg, uint32_t mask);                   // host order
  Rule& prefix(int reg, const Cidr&);                      // the address in reg lies in the prefix; clobbers reg
  Rule& not_prefix(int reg, const Cidr&);
  Rule& in_set(std::string_view set, int reg);
  Rule& not_in_set(std::string_view set, int reg);
  Rule& from_map(std::string_view map, int reg, int to_reg);  // no entry: no match
  Rule& vmap(std::string_view map, int reg);               // goes to the entry's chain
  Rule& daddr_is_local();                                  // fib daddr type local; uses register 15
  Rule& saddr_is_local();
  Rule& family_is(Family);                                 // uses register 15, as do the next ones
  Rule& l4proto_is(Proto);
  Rule& is_icmp(Family);
  Rule& iif_is(std::string_view name);
  Rule& oif_is(std::string_view name);
  Rule& iif_is_not(std::string_view name);                 // where packets have arrived: not in output
  Rule& oif_is_not(std::string_view name);
  Rule& ct_state(uint32_t bits);
  Rule& ct_dnat();                                         // the flow's destination was rewritten
  Rule& ct_reply_direction(bool reply);
  Rule& mark_bit(uint32_t bit);
  // actions
  Rule& counter();
  Rule& log(uint16_t group, uint32_t bytes);                // the packet's first bytes to who listens there (base/net/packet_log.h)
  Rule& set_priority(int reg);                              // the packet's queueing priority
  Rule& update(std::string_view set, int key_reg, int data_reg, std::chrono::milliseconds timeout);
  Rule& erase(std::string_view set, int key_reg, int data_reg);
  Rule& clamp_mss();                                       // a TCP SYN asks for no more than both ways' routes carry; for forward and later
  Rule& dnat(Family, int addr_reg, int port_reg);
  Rule& snat(Family, int addr_reg);
  Rule& masquerade();
  Rule& reject_tcp_reset();
  Rule& reject_port_unreachable();
  Rule& accept();
  Rule& drop();
  Rule& ret();
  Rule& jump(std::string_view chain);
  Rule& go(std::string_view chain);                        // goto

 private:
  friend class Batch;
  struct Free { void operator()(nftnl_rule*) const; };
  std::unique_ptr<nftnl_rule, Free> r_;
};

class Batch {
 public:
  explicit Batch(std::string table);  // family inet
  Batch(std::string table, uint8_t family);  // NFPROTO_*; for rules in another program's table
  void add_table();
  void delete_table();                // after add_table() it never fails: add, delete, add replaces a table
  void add_chain(const std::string& name);
  void add_base_chain(const std::string& name, const char* type, Hook, int32_t priority);  // type: filter, nat; policy accept
  void add_set(const SetSpec&);
  void add_rule(const std::string& chain, const Rule&);
  void insert_rule(const std::string& chain, const Rule&, const std::string& comment);  // before the others
  void delete_rule(const std::string& chain, uint64_t handle);
  // Collected into few messages: a set's deletions go before its additions, both behind what was put into the batch before.
  void add_elements(const std::string& set, const std::vector<Element>&);
  void delete_elements(const std::string& set, const std::vector<Element>&);
  void flush_set(const std::string& set);
  bool empty() const { return objects_.empty() && pending_.empty(); }
  // One transaction. An error names the object the kernel refused.
  Result<void> send();

 private:
  struct Pending {
    std::vector<Element> gone, come;
  };
  void write_pending(const std::string& set, Pending&);
  void elements(uint16_t type, const std::string& set, const std::vector<Element>&);
  uint8_t* begin(size_t room);
  void end(const void* nlmsg, std::string object);
  void put_rule(const std::string& chain, const Rule&, uint16_t flags);
  std::string table_;
  uint8_t family_;
  ByteVec buf_;
  std::vector<std::string> objects_;  // by sequence number
  std::map<std::string, Pending> pending_;
  size_t last_at_ = 0;
};

// What the kernel has: for recovery, checks and tests.
Result<std::vector<std::string>> tables();  // of family inet
Result<std::vector<std::string>> chains(const std::string& table);
Result<std::vector<Element>> elements(const std::string& table, const std::string& set);

}  // namespace base::nft
