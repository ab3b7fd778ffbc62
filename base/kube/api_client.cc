#include "base/kube/api_client.h"

#include <list>

#include "base/http/date.h"
#include "base/http/h1_codec.h"
#include "base/net/stream.h"
#include "base/net/tls_stream.h"

namespace base::kube {
namespace {

constexpr size_t kIdleConnections = 8;
constexpr StreamLimits kStreamLimits{.read_high = 64 << 10};
constexpr H1Limits kAnswerLimits{.body_bytes = SIZE_MAX};  // the body is taken out piece by piece; its bounds are the caller's
constexpr std::chrono::hours kNotBeforeSlack{24};
constexpr std::chrono::seconds kKeepAliveIdle{30}, kKeepAliveInterval{10};

class Call;

// One connection. Between answers it belongs to the client's idle list, else to a Call.
class Connection {
 public:
  Connection(std::unique_ptr<Stream> stream, std::string name) : name_(std::move(name)), stream_(std::move(stream)) {
    stream_->start({.on_connected = [this] { set_tcp_keepalive(stream_->fd(), kKeepAliveIdle, kKeepAliveInterval); },
                    .on_data = [this](Buffer& in) { on_data(in); },
                    .on_end = [this] { on_end(); },
                    .on_closed = [this](const Result<void>& r) { on_closed(r); }});
  }
  ~Connection() { *alive_ = false; }

  // Ends with on_done; after a value the connection can be asked again.
  struct User {
    std::function<void(int, const Headers&)> on_head;
    std::function<void(std::string_view)> on_body;
    std::function<void(const Result<void>&, bool reusable)> on_done;
  };
  void ask(const std::string& request, User u) {
    user_ = std::make_shared<User>(std::move(u));
    parser_ = H1Parser(H1Parser::Kind::response, kAnswerLimits);
    head_told_ = false;
    stream_->write(request);
  }
  void set_idle(std::function<void()> on_lost) {
    user_.reset();
    on_lost_ = std::move(on_lost);
  }

 private:
  // False: this is gone, or its user is.
  template <class F, class... A>
  bool tell(F User::* which, A&&... a) {
    auto alive = alive_;
    auto user = user_;
    if (!user) return false;
    ((*user).*which)(std::forward<A>(a)...);
    return *alive && user_ == user;
  }

  void on_data(Buffer& in) {
    if (!user_) return lost();  // nobody asked
    while (!in.empty()) {
      auto n = parser_.feed(in.view());
      if (!n) return done(fail_in(name_, n.error()), false);
      in.consume(*n);
      if (!progress()) return;
    }
  }

  // What the parser has, told. False: nothing more may be done here.
  bool progress() {
    if (!parser_.head_complete()) return true;
    if (parser_.response().status < 200 && parser_.complete()) return parser_.next_message(), true;
    if (!std::exchange(head_told_, true) && !tell(&User::on_head, parser_.response().status, parser_.response().headers)) return false;
    if (std::string body = std::exchange(parser_.response().body, {}); !body.empty() && !tell(&User::on_body, std::string_view(body))) return false;
    if (!parser_.complete()) return true;
    done({}, parser_.keep_alive());
    return false;
  }

  void on_end() {
    if (!user_) return lost();
    if (parser_.head_complete() && parser_.finish() && parser_.complete()) return done({}, false);
    done(closed_early(), false);
  }

  void on_closed(const Result<void>& r) {
    if (!user_) return lost();
    done(r ? closed_early() : fail(r.error().code, "{}", with_name(r.error().what)), false);
  }

  std::string with_name(const std::string& what) const { return what.find(name_) == what.npos ? name_ + ": " + what : what; }
  tl::unexpected<Error> closed_early() const {
    return fail(Code::unavailable, "{}: the connection was closed {}", name_, head_told_ ? "in the middle of an answer" : "before an answer");
  }

  void done(const Result<void>& r, bool reusable) {
    auto user = std::exchange(user_, nullptr);
    if (user) user->on_done(r, reusable);  // may destroy this
  }
  void lost() {
    if (auto f = std::exchange(on_lost_, nullptr)) f();  // destroys this
  }

  std::string name_;
  std::unique_ptr<Stream> stream_;
  H1Parser parser_{H1Parser::Kind::response, kAnswerLimits};
  bool head_told_ = false;
  std::shared_ptr<User> user_;
  std::function<void()> on_lost_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class H1Client final : public ApiClient {
 public:
  H1Client(Loop& loop, ApiClientOptions o) : loop_(loop), options_(std::move(o)) {}

  std::unique_ptr<ApiCall> get(const std::string& target, ApiHandler) override;
  std::string server() const override { return access_ ? access_->server.str() : "the API server"; }

 private:
  friend class Call;
  // The newest that can be had; an error only as long as there never was a good one.
  Result<void> refresh() {
    auto next = options_.access();
    if (!next && !access_) return tl::unexpected(next.error());
    if (next) access_ = std::move(*next);
    EM_TRY_ASSIGN(ApiCredentials c, load_credentials(*access_));
    if (access_->server.tls && (!tls_ || !same_identity(c))) EM_TRY(make_tls(c));
    credentials_ = std::move(c);
    return {};
  }
  bool same_identity(const ApiCredentials& c) const {
    return skip_verify_ == access_->skip_verify && c.ca_pem == credentials_.ca_pem && c.certificate_pem == credentials_.certificate_pem &&
           c.key_pem == credentials_.key_pem;
  }
  Result<void> make_tls(const ApiCredentials& c) {
    auto made = TlsContext::make({.certificate_pem = c.certificate_pem, .key_pem = c.key_pem, .ca_pem = c.ca_pem,
                                  .accept_any_server = access_->skip_verify, .alpn = {"http/1.1"},
                                  .not_before_slack = kNotBeforeSlack, .dates = {.starts_by = options_.starts_by}});
    if (!made) return fail_in(server() + ": credentials", made.error());
    tls_ = std::move(*made);
    skip_verify_ = access_->skip_verify;
    idle_.clear();  // they speak for the old identity
    return {};
  }

  Result<std::unique_ptr<Connection>> connect(const IpAddr& ip) {
    EM_TRY_ASSIGN(std::unique_ptr<Stream> stream,
                  connect_tcp(loop_, {ip, access_->server.port}, options_.connect_within, {.mark = options_.socket_mark}, kStreamLimits));
    if (access_->server.tls) {
      TlsStreamOptions o;
      o.verify_at = options_.wall();
      o.expected_name = access_->skip_verify ? "" : access_->server_name.empty() ? access_->server.host : access_->server_name;
      o.handshake_within = options_.connect_within;
      o.limits = kStreamLimits;
      stream = make_tls_stream(loop_, std::move(stream), tls_, std::move(o));
    }
    return std::make_unique<Connection>(std::move(stream), server());
  }

  std::string request(const std::string& target) const {
    Request r;
    r.target = access_->server.path + target;
    r.headers = {{"Host", access_->server.authority()}, {"Accept", "application/json"}, {"User-Agent", options_.user_agent}};
    if (!credentials_.token.empty()) r.headers.add("Authorization", "Bearer " + credentials_.token);
    return h1_serialize(r);
  }

  // Unsigned, but from a server whose certificate was checked, on a connection nobody else can write to.
  void note_time(const Headers& h) const {
    if (!options_.on_time || !access_->server.tls || access_->skip_verify) return;
    if (auto at = parse_http_date(h.get("Date"))) options_.on_time(*at);
  }

  std::unique_ptr<Connection> take_idle() {
    if (idle_.empty()) return nullptr;
    auto c = std::move(idle_.front());
    idle_.pop_front();
    return c;
  }
  void put_idle(std::unique_ptr<Connection> c) {
    if (idle_.size() >= kIdleConnections) return;
    Connection* raw = c.get();
    idle_.push_front(std::move(c));
    raw->set_idle([this, raw] {
      for (auto it = idle_.begin(); it != idle_.end(); ++it)
        if (it->get() == raw) {
          loop_.defer_delete(std::move(*it));
          idle_.erase(it);
          return;
        }
    });
  }

  Loop& loop_;
  ApiClientOptions options_;
  std::optional<ApiAccess> access_;
  ApiCredentials credentials_;
  std::shared_ptr<const TlsContext> tls_;
  bool skip_verify_ = false;
  size_t attempts_ = 0;  // rotates through a name's addresses
  std::list<std::unique_ptr<Connection>> idle_;
};

class Call final : public ApiCall {
 public:
  Call(H1Client& client, const std::string& target, ApiHandler h)
      : client_(client), target_(target), handler_(std::make_shared<ApiHandler>(std::move(h))), begin_(client.loop_.timer([this] { begin(); })) {
    begin_->arm(Duration{0});
  }

 private:
  void begin() {
    if (auto r = client_.refresh(); !r) return end(r);
    if (auto c = client_.take_idle()) return ask(std::move(c));
    lookup_ = look_up_name(client_.loop_, client_.access_->server.host, [this](Result<std::vector<IpAddr>> found) { on_addresses(found); });
  }
  void on_addresses(const Result<std::vector<IpAddr>>& found) {
    if (!found) return end(fail_in(client_.server(), found.error()));
    auto c = client_.connect((*found)[client_.attempts_++ % found->size()]);
    if (!c) return end(fail_in(client_.server(), c.error()));
    ask(std::move(*c));
  }
  void ask(std::unique_ptr<Connection> c) {
    connection_ = std::move(c);
    auto handler = handler_;
    auto on_head = [&client = client_, handler](int status, const Headers& h) {
      client.note_time(h);
      handler->on_head(status, h);
    };
    connection_->ask(client_.request(target_), {.on_head = on_head, .on_body = handler->on_body,
                                                .on_done = [this](const Result<void>& r, bool reusable) { on_done(r, reusable); }});
  }
  void on_done(const Result<void>& r, bool reusable) {
    auto c = std::move(connection_);
    if (r && reusable) client_.put_idle(std::move(c));
    else client_.loop_.defer_delete(std::move(c));  // we stand in its callback
    end(r);
  }
  void end(const Result<void>& r) {
    auto handler = std::exchange(handler_, nullptr);
    if (handler) handler->on_end(r);  // may destroy this
  }

  H1Client& client_;
  std::string target_;
  std::shared_ptr<ApiHandler> handler_;
  std::unique_ptr<Timer> begin_;
  std::unique_ptr<NameLookup> lookup_;
  std::unique_ptr<Connection> connection_;
};

std::unique_ptr<ApiCall> H1Client::get(const std::string& target, ApiHandler h) { return std::make_unique<Call>(*this, target, std::move(h)); }

}  // namespace

std::unique_ptr<ApiClient> make_api_client(Loop& loop, ApiClientOptions o) { return std::make_unique<H1Client>(loop, std::move(o)); }

}  // namespace base::kube
