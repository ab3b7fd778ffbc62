// Upstream: everything that is not ours. Cache first; equal questions that are under way share one query; what is under way, the
// time it may take and what is kept are bounded; when nobody answers, the last answer goes on for a day (RFC 8767), and without
// one the caller gets SERVFAIL with a reason (RFC 8914) at once.
//
// A name is asked of the servers of its zone (the longest that is configured, else everybody's): of the fastest first, and of the next
// one when that takes longer than it usually does (server_pool.h). The first answer that can be believed counts. It cannot when it is
// about another question, loses the random upper and lower case the name was sent in (0x20: asked again over TCP), or says something
// about names nobody asked for (wire/bailiwick.h).
//
// A name that is asked for often is asked again in the last tenth of its time, so that none of its clients waits for it.
//
// A server that turns out to be ourselves rests, with a log line. A question that comes back to us through others is refused, and the
// servers it was asked of get a probe: one whose probe comes back as well rests too.
// Lives on one loop.
#pragma once
#include <map>

#include "base/core/limits.h"
#include "base/core/metrics.h"
#include "base/core/wall_clock.h"
#include "base/net/tls.h"
#include "dns/upstream/answer_cache.h"
#include "dns/upstream/resolv_conf.h"
#include "dns/upstream/server_pool.h"

namespace dns {

struct StubZone {  // names under `zone` are asked of these servers only
  Name zone;       // lowered
  std::vector<ServerAddress> servers;
};

struct UpstreamConfig {
  std::vector<ServerAddress> servers;  // empty: those of resolv_conf, followed as it changes
  std::vector<StubZone> zones;
  std::string resolv_conf = "/etc/resolv.conf";
  std::vector<base::IpPort> own;      // where we listen: never asked
  std::string ca_file = "/etc/ssl/certs/ca-certificates.crt";  // of servers over TLS and HTTPS
  std::function<base::WallTime()> wall = base::wall_now;       // what their certificates are checked against
  size_t cache_bytes_max = base::limits::kDnsCacheBytesMax;
  size_t in_flight_max = base::limits::kDnsInFlightUpstreamMax;
  size_t waiters_max = 128;           // clients behind one question
  std::chrono::milliseconds budget{1900};      // then the client gets what there is
  std::chrono::milliseconds stale_after{220};  // with an old answer at hand
  std::chrono::seconds positive_max{3600}, negative_max{30}, failure_kept{2};
  std::chrono::seconds stale_max{24 * 3600}, stale_recheck{30};
};

struct ServerView {  // for those who look
  size_t number = 0;  // as in the metrics
  std::string zone, address;
  uint64_t queries = 0;
  uint32_t silent = 0;  // in a row
  bool measured = false, down = false, loops = false;
  base::Duration usual{0}, p95{0};
};

class Upstream {
 public:
  struct Outcome {
    const StoredAnswer* answer = nullptr;  // null: nobody answered; valid during the call
    Ede ede = Ede::none;
  };
  using Done = std::function<void(const Outcome&)>;

  Upstream(base::Loop&, base::Rng&, base::Metrics&, UpstreamConfig, MakeLink = {});  // default: to real servers
  ~Upstream();
  static base::Result<void> check(const UpstreamConfig&);  // what is needed for its servers is there
  bool available() const { return available_; }
  // A fresh answer, or an old one that is not worth asking for again yet; null: resolve() it. No allocation.
  const StoredAnswer* cached(const Query&);
  void resolve(const Question&, Done);  // done runs once, perhaps before resolve returns
  // A query came from this address: true if it is one of our own sockets, so that its server is us. That server rests.
  bool is_loop(const base::IpPort& from);
  // A query with exactly the letters, upper and lower, that we are sending upstream at this moment: an upstream forwards to us.
  // True: refuse it. The question goes on with servers that were not asked yet, and fails at once if there is none.
  bool is_echo(const Query&);
  void reload(UpstreamConfig);  // what is under way ends as it is
  std::vector<base::IpPort> servers() const;  // in use for names of no special zone
  std::vector<ServerView> view() const;
  size_t in_flight() const { return flights_.size(); }
  AnswerCache& cache() { return cache_; }
  const AnswerCache& cache() const { return cache_; }
  const UpstreamConfig& config() const { return config_; }
  size_t cache_bytes() const { return cache_.bytes(); }

 private:
  using PoolPtr = std::shared_ptr<ServerPool>;
  struct Flight {
    Question question;
    Name asked;  // as sent, with its random case
    std::vector<Done> waiters;
    PoolPtr pool;
    Tried tried;
    size_t last = 0, pending = 0;
    base::Instant started, next_at;
    uint64_t serial = 0;
    StoredAnswer failure;  // a server's SERVFAIL or the like, for want of something better
    bool has_failure = false;
    std::unique_ptr<base::Timer> timer;
  };
  struct QuestionLess {
    bool operator()(const Question&, const Question&) const;
  };
  using Flights = std::map<Question, Flight, QuestionLess>;
  struct Attempt {  // what an answer is told by
    Question question;
    uint64_t serial;
    std::weak_ptr<Server> server;
    base::Instant sent;
    bool by_tcp, hedge;
    bool sure;  // nobody else can have sent the answer
  };

  // servers
  void follow_resolv_conf();
  void rebuild();
  PoolPtr make_pool(const Name& zone, const std::vector<ServerAddress>&, const std::vector<PoolPtr>& before);
  void number_servers();
  std::unique_ptr<ServerLink> make_link(const ServerAddress&, bool tcp);
  void retire(std::vector<PoolPtr>);
  const PoolPtr& pool_for(std::string_view key) const;
  void switch_off(Server&, const char* how);
  bool is_probe(const Query&);
  void probe(const ServerPtr&);

  // questions
  void used(StoredAnswer&, const Query&, base::Instant now);
  void ask_ahead();
  void start(const Question&, Done);
  void ask_next(Flight&);
  void ask(Flight&, size_t server, bool hedge);
  void send(Flight&, const ServerPtr&, bool by_tcp, bool hedge);
  void on_answer(const Attempt&, base::ByteView);
  bool believed(const Flight&, base::ByteView, Scan&);
  void ask_by_tcp(Flight&, const ServerPtr&);
  void useless(Flight&);
  void accept(Flight&, base::ByteView, Scan);
  StoredAnswer stored(const Question&, base::ByteView, Scan) const;
  void failed(Flight&, Ede);
  void finish(Flight&, const StoredAnswer&);
  bool serve_old(const Question&, const std::vector<Done>&);
  void on_timer(const Question&, uint64_t serial);
  void arm(Flight&);
  std::chrono::seconds lifetime(const Scan&) const;

  base::Loop& loop_;
  base::Rng& rng_;
  base::Metrics& metrics_;
  UpstreamConfig config_;
  MakeLink make_link_;
  std::shared_ptr<const base::TlsContext> tls_, https_;  // when a server needs them
  ResolvConf resolv_conf_;
  AnswerCache cache_;
  std::vector<PoolPtr> pools_;   // longest zone first; the last one is everybody's
  std::vector<PoolPtr> retired_;  // until their queries have ended
  bool available_ = false;
  Flights flights_;
  uint64_t serial_ = 0;
  std::map<std::string, std::weak_ptr<Server>> probes_;  // by lowered name
  base::Instant looked_at_file_{};
  bool looked_ = false;
  std::unique_ptr<base::Timer> sweep_, ahead_timer_;
  std::vector<Question> ahead_;  // to be asked again in the next turn
  base::Counter &queries_, &failures_, &hits_, &stale_, &shared_, &refused_, &looped_, &hedged_, &hedge_won_, &lies_, &prefetched_;
};

}  // namespace dns
