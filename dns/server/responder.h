// Responder: one query in, one reply out, without sockets: zone first, then cache, then upstream. The synchronous part allocates
// nothing; what has to wait is copied and answered through a callback. Lives on one loop, shared by all listeners of that loop.
#pragma once
#include <unordered_map>

#include "base/net/datagram_exchange.h"
#include "dns/server/cookies.h"
#include "dns/server/name_chain.h"
#include "dns/server/query_tap.h"
#include "dns/server/query_watch.h"
#include "dns/server/rate_limit.h"
#include "dns/upstream/upstream.h"
#include "dns/zone/zone_index.h"

namespace dns {

enum class Transport : uint8_t { udp, tcp };

// Called when a name of a cluster service is asked, at most every 10 s per service: first contact is near.
using OnServiceQuery = std::function<void(const base::kube::ObjectName&)>;

class Responder {
 public:
  using Later = std::function<void(base::ByteView reply)>;
  struct Hooks {
    OnServiceQuery on_service_query;
    SearchNamespace search_namespace;
    QueryWatch* watch = nullptr;
    QueryTap* tap = nullptr;
    CookieSecret cookie_secret{};
    const LocalNames* local = nullptr;  // what the configuration says about names
    RateLimit* rate = nullptr;          // of answers over UDP
    std::vector<Name> search_domains;   // what pods' search paths have after the cluster's
    std::chrono::seconds tcp_idle{30};  // what clients over TCP are told (RFC 7828)
  };
  Responder(base::Loop&, base::Metrics&, ZoneIndex&, Upstream&, Hooks, size_t udp_payload_max);

  struct Answered {
    enum class Kind : uint8_t { reply, drop, wait } kind = Kind::drop;
    size_t size = 0;
  };
  // Who asks, made only for those who want to know.
  class Asker {
   public:
    Asker(const base::IpPort& p) : known_(&p) {}
    Asker(const base::DatagramExchange& x, size_t i) : batch_(&x), i_(i) {}
    base::IpPort operator()() const { return known_ ? *known_ : batch_->from(i_); }

   private:
    const base::IpPort* known_ = nullptr;
    const base::DatagramExchange* batch_ = nullptr;
    size_t i_ = 0;
  };
  // out needs room for 64 KiB (TCP) or udp_payload_max. After wait: call wait_for() before the next answer().
  Answered answer(base::ByteView query, Transport, const Asker&, base::MutByteView out);
  void wait_for(Transport, Later);

  // A batch of datagrams: the rounds of looking ahead, then answer_ahead() each, in place: out may begin with the query.
  static constexpr size_t kBatch = 64;
  void look_1(size_t i, base::ByteView query) {
    parsed_[i] = parse_query(query, batch_[i]);
    messages_[i] = query;
    zone_.look_1(batch_[i], ahead_[i]);
  }
  void look_2(size_t i) { zone_.look_2(ahead_[i]); }
  void look_3(size_t i) { zone_.look_3(ahead_[i]); }
  Answered answer_ahead(size_t i, const Asker& from, base::MutByteView out) {
    query_ = &batch_[i];
    message_ = messages_[i];
    return answer_parsed(parsed_[i], ahead_[i], Transport::udp, from, out);
  }
  void count();  // what was answered since the last call: the listeners call it once per batch, when that has left
  // Names that objects give to what the mesh carries, asked after the cluster's own. Null: none.
  void set_routed(const LocalNames* n) { routed_ = n; }
  // The domain (lowered wire form) whose own servers upstream are asked for what is not known of it before the first whole list. "": none.
  void set_asked_early(std::string domain) { asked_early_ = std::move(domain); }
  // Another one has taken its place: it only answers what it had asked upstream.
  void retire();
  bool is_waiting() const { return !waiting_.empty(); }
  size_t udp_payload_max() const { return udp_payload_max_; }

 private:
  struct Held;  // a query that outlives its buffer
  Answered answer_parsed(Parsed, const ZoneIndex::Ahead&, Transport, const Asker&, base::MutByteView out);
  Answered answer_tapped(Parsed, const ZoneIndex::Ahead&, Transport, const Asker&, base::MutByteView out);
  Answered answer_plain(Parsed, const ZoneIndex::Ahead&, Transport, const Asker&, base::MutByteView out);
  Answered local(const ZoneIndex::Ahead&, Transport, const Asker&, base::MutByteView out);
  std::optional<Answered> configured(const ZoneIndex::How&, Transport, const Asker&, base::MutByteView out);
  Answered follow(const LocalNames::Found&, const ZoneIndex::How&, Transport, const Asker&, base::MutByteView out);
  void in_zone(ZoneIndex::How, const Asker&, base::MutByteView out);
  bool search(const ZoneIndex::How&, const Asker&, base::MutByteView out);
  bool is_asked_early() const;
  bool routed(const Name&, uint16_t type, StoredAnswer&) const;
  bool leads_to_routed() const;
  std::vector<Name> search_path(const Name& bare) const;
  void ask(std::shared_ptr<Held>, Later);
  void ask_further(std::shared_ptr<Held>, Later);
  Answered forwarded(Transport, const Asker&, base::MutByteView out);
  Answered wait(Transport, const Asker&, base::MutByteView out);
  void done_waiting(const base::IpAddr&);
  std::optional<Answered> limited(Parsed, const Asker&, base::MutByteView out);
  Answered own_error(Parsed, Transport, base::MutByteView out);
  Answered replied(size_t size, Rcode);
  Answered refuse(Rcode, Ede, Transport, base::MutByteView out);
  size_t limit(const Query&, Transport) const;
  ZoneIndex::How how(const Query&, Transport) const;
  void bake(const base::IpAddr& client);  // the server's part of the cookie
  void tell(uint32_t service);
  void remember_first(const Asker&);
  void finish(const Held&, const Upstream::Outcome&, const Later&);

  base::Loop& loop_;
  ZoneIndex& zone_;
  const LocalNames* routed_ = nullptr;
  std::string asked_early_;
  Upstream& upstream_;
  Hooks hooks_;
  size_t udp_payload_max_;
  uint32_t turn_ = 0;
  Query batch_[kBatch];
  Parsed parsed_[kBatch] = {};
  ZoneIndex::Ahead ahead_[kBatch];
  base::ByteView messages_[kBatch], message_;  // as they came, until they are answered over
  QueryTap::Sample sample_;  // of the query that waits next
  uint32_t wall_s_ = 0;  // for cookies, as of
  base::Instant wall_at_{};
  base::IpAddr waiting_for_;  // whose query waits next
  std::unordered_map<base::IpAddr, uint32_t> waiting_;  // queries at upstream per client
  Query own_;               // one that came alone
  Query* query_ = &own_;    // the one being answered
  ZoneIndex::Result zone_result_;
  bool watch_asked_ = false, watch_kept_ = false;  // in this batch: whether one is due, and that its first query is kept until count()
  std::array<char, kNameMax> first_name_;
  size_t first_name_size_ = 0;
  base::IpAddr first_client_;
  bool by_search_ = false;  // the alias in it is what the client's search path ends in
  LocalNames::Found found_;
  std::shared_ptr<NameChain> chain_;  // of the query that waits next
  base::ByteVec scratch_, other_;
  std::shared_ptr<Responder*> alive_;  // for upstream answers that come after us
  // Whose name was asked, for the metrics: nobody's (a message that is none), the cluster's, the configuration's, the world's.
  enum class Zone : uint8_t { none, cluster, config, outside };
  static constexpr size_t kZones = 4, kRcodes = 7;
  Zone asked_zone_ = Zone::none;  // of the query being answered
  struct Tally {
    uint32_t queries[2] = {}, answers[kZones][kRcodes] = {};
  } tally_;
  base::Counter *queries_[2], *answers_[kZones][kRcodes], &dropped_, &searched_, &limited_, &configured_, &rate_dropped_, &rate_truncated_;
  base::Histogram* waited_[kZones];
};

}  // namespace dns
