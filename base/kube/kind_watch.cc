#include "base/kube/kind_watch.h"

#include <algorithm>
#include <charconv>

#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/kube/fields.h"

namespace base::kube {
namespace {

constexpr Duration kSayAgain = std::chrono::minutes(5);
constexpr int kPageObjects = 500;
constexpr Duration kBackoffMin = 200ms, kBackoffMax = 30s;
constexpr Duration kAnsweredWithin = 500ms;  // how far the kinds spread when the server is back
constexpr Duration kQuietList = 30s;        // no byte of a list for so long: given up. MetaServers take 10 s for an answer
constexpr Duration kPageWithin = 300s;
constexpr Duration kLookAgain = 60s;        // for a kind that is not there
constexpr Duration kAskEmptyAgain = 5s;
constexpr Duration kWatchSettled = 5s;      // a watch that lived so long was a good one
constexpr int kWatchSecondsMin = 300, kMetaWatchSecondsMin = 60;  // and up to twice that, so that nodes do not come at once
constexpr Duration kWatchGrace = 30s;       // for the server to end it
constexpr size_t kBadObjectsKept = 100;
constexpr size_t kRefusalBytes = 16 << 10;

std::string url_escaped(std::string_view s) {
  std::string out;
  for (char c : s) {
    if (std::isalnum(uint8_t(c)) || c == '-' || c == '_' || c == '.' || c == '~') out += c;
    else out += fmt::format("%{:02X}", uint8_t(c));
  }
  return out;
}

Duration retry_after_of(const Headers& h) {
  const std::string_view v = h.get("retry-after");
  int seconds = 0;
  std::from_chars(v.data(), v.data() + v.size(), seconds);
  return std::chrono::seconds(std::clamp(seconds, 0, 300));
}

// After a restore from a backup a watch waits at a version that is yet to come; its bookmarks give it away.
bool went_back(std::string_view from, std::string_view to) {
  uint64_t a = 0, b = 0;
  if (from.empty() || std::from_chars(from.data(), from.data() + from.size(), a).ec != std::errc()) return false;
  if (to.empty() || std::from_chars(to.data(), to.data() + to.size(), b).ec != std::errc()) return false;
  return b < a;
}

const char* mend_for(int status) {
  switch (status) {
    case 401: return "; renew the credentials (token or client certificate)";
    case 403: return "; grant list and watch (docs/guide/kubernetes.md)";
    case 404: return "; is this the address of a Kubernetes API server?";
    default: return "";
  }
}

}  // namespace

KindWatch::KindWatch(Loop& loop, Rng& rng, ApiClient& client, Config c, Hooks h, Counters n)
    : loop_(loop), rng_(rng), client_(client), config_(std::move(c)), hooks_(std::move(h)), counters_(n),
      retry_timer_(loop.timer([this] { begin(); })), quiet_timer_(loop.timer([this] { on_quiet(); })) {
  retry_timer_->arm(Duration{0});
}

KindWatch::~KindWatch() { set_state(State::waiting); }

std::vector<std::string> KindWatch::problems() const {
  std::vector<std::string> out;
  if (!trouble_.empty()) out.push_back(trouble_);
  for (const auto& [object, line] : bad_) out.push_back(line);
  return out;
}

void KindWatch::set_state(State s) {
  if ((s == State::watching) != (state_ == State::watching)) counters_.watching.add(s == State::watching ? 1 : -1);
  state_ = s;
}

void KindWatch::begin() {
  status_ = 0;
  retry_after_ = Duration{0};
  refusal_.clear();
  if (next_ == Next::watch) return watch();
  found_.clear();
  bad_found_.clear();
  page_token_.clear();
  list_bytes_ = 0;
  list_page();
}

// more: "&key=value" as often as needed.
std::string KindWatch::target(std::string more) const {
  if (!config_.query.empty()) more.insert(0, "&" + config_.query);
  if (!more.empty()) more[0] = '?';
  return config_.paths[path_] + more;
}

// ---- listing

void KindWatch::list_page() {
  set_state(State::listing);
  began_ = loop_.now();
  status_ = 0;
  list_error_.reset();
  reader_.emplace(ListReader::Bounds{.item_bytes = limits::kApiObjectBytesMax},
                  ListReader::Hooks{.on_item = [this](std::string& t) { on_item(t); },
                                    .on_skipped = [this](const std::string& why) { note_bad(bad_found_, {}, place() + ": " + why + " is left out"); }});
  std::string more = in_pages_ ? fmt::format("&limit={}", kPageObjects) : "";
  if (!page_token_.empty()) more += "&continue=" + url_escaped(page_token_);
  arm_quiet(kQuietList);
  call_ = client_.get(target(std::move(more)), {.on_head = [this](int s, const Headers& h) { on_page_head(s, h); },
                                                .on_body = [this](std::string_view b) { on_page_body(b); },
                                                .on_end = [this](const Result<void>& r) { on_page_end(r); }});
}

void KindWatch::on_page_head(int status, const Headers& h) {
  status_ = status;
  retry_after_ = retry_after_of(h);
  if (std::exchange(unreached_, false)) hooks_.on_answer();
}

void KindWatch::on_page_body(std::string_view piece) {
  counters_.bytes.add(piece.size());
  arm_quiet(kQuietList);
  if (status_ != 200) return void(refusal_.append(piece.substr(0, kRefusalBytes - std::min(kRefusalBytes, refusal_.size()))));
  list_bytes_ += piece.size();
  Result<void> r = reader_->feed(piece);
  if (!r) list_error_ = Error{r.error().code, place() + ": " + r.error().what};
  if (list_bytes_ > limits::kApiListBytesMax) list_error_ = Error{Code::limit, fmt::format("{}: a list of more than {} bytes", place(), limits::kApiListBytesMax)};
  if (found_.size() > limits::kApiObjectsMax) list_error_ = Error{Code::limit, fmt::format("{}: more than {} objects", place(), limits::kApiObjectsMax)};
  if (loop_.now() - began_ > kPageWithin) list_error_ = Error{Code::timeout, fmt::format("{}: a page took longer than {} s", place(), to_ms(kPageWithin) / 1000)};
  if (!list_error_) return;
  found_ = {};
  fail_with(list_error_->what, Next::list);  // the rest of the answer is not read
}

void KindWatch::on_item(std::string& text) {
  ReadObject o = json_.object(config_.kind, text, place());
  if (o.object) found_.push_back(*o.object);
  else note_bad(bad_found_, o.id, o.trouble);
}

// An operator is told once, however often the list is read again.
void KindWatch::note_bad(std::map<std::string, std::string>& in, const ObjectName& id, const std::string& line) {
  counters_.bad_objects.add();
  const std::string key = id.name.empty() ? line : id.str();
  const auto before = bad_.find(key);
  const bool told = before != bad_.end() && before->second == line;
  if (in.size() < kBadObjectsKept || in.contains(key)) in[key] = line;
  if (!told) hooks_.on_error(line);
}

void KindWatch::on_page_end(const Result<void>& r) {
  call_.reset();
  if (!r) return on_broken(r.error().what, Next::list);
  if (status_ != 200) return on_refusal();
  if (!reader_->complete()) return fail_with(place() + ": half a list", Next::list);
  auto frame = json_.list_frame(reader_->frame(), place());
  if (!frame) return fail_with(frame.error().what, Next::list);
  if (!frame->kind.ends_with("List")) return fail_with(fmt::format("{}: not a list but {}", place(), frame->kind.empty() ? "something else" : one_line(frame->kind)), Next::list);
  version_ = frame->resource_version;
  page_token_ = in_pages_ ? frame->next_page : "";
  if (!page_token_.empty()) return list_page();
  finish_list();
}

void KindWatch::finish_list() {
  quiet_timer_->cancel();
  counters_.lists.add();
  paths_missing_ = 0;
  in_pages_ = true;
  if (holds_empty()) return;
  listed_ = true;
  had_objects_ = !found_.empty();
  std::sort(found_.begin(), found_.end(), NameOrder());
  found_.erase(std::unique(found_.begin(), found_.end(), [](const PackedObject& a, const PackedObject& b) { return NameOrder::key(a) == NameOrder::key(b); }), found_.end());
  bad_ = std::exchange(bad_found_, {});
  well();
  hooks_.on_list(std::exchange(found_, {}));
  relist_ = false;
  if (config_.meta_server && config_.never_empty && !had_objects_) return retry(Next::list, kAskEmptyAgain);
  status_ = 0;
  refusal_.clear();
  watch();
}

// A MetaServer that has lost its cloud, or is starting, answers with an empty list and status 200.
bool KindWatch::holds_empty() {
  const bool doubtful = found_.empty() && config_.hold_empty > Duration{0} && (had_objects_ || (config_.never_empty && !listed_));
  if (!doubtful) return empty_since_.reset(), false;
  if (!empty_since_) empty_since_ = loop_.now();
  if (loop_.now() - *empty_since_ >= config_.hold_empty) return empty_since_.reset(), false;
  say(fmt::format("{}: an empty list; not believed before {} s have passed: is the MetaServer connected to its cloud?", place(),
                                to_ms(config_.hold_empty) / 1000));
  backoff_ = Duration{0};
  retry(Next::list, kAskEmptyAgain);
  return true;
}

// ---- watching

void KindWatch::watch() {
  set_state(State::watching);
  line_.clear();
  lines_ = 0;
  relist_ = config_.meta_server;
  began_ = loop_.now();
  const int base_seconds = config_.meta_server ? kMetaWatchSecondsMin : kWatchSecondsMin;
  const int seconds = base_seconds + int(rng_.below(uint64_t(base_seconds)));
  std::string more = fmt::format("&watch=true&allowWatchBookmarks=true&timeoutSeconds={}", seconds);
  if (!version_.empty()) more += "&resourceVersion=" + url_escaped(version_);
  arm_quiet(std::chrono::seconds(seconds) + kWatchGrace);
  call_ = client_.get(target(std::move(more)), {.on_head =
                                                    [this](int s, const Headers& h) {
                                                      on_page_head(s, h);
                                                      if (s == 200) well();
                                                    },
                                                .on_body = [this](std::string_view b) { on_watch_body(b); },
                                                .on_end = [this](const Result<void>& r) { on_watch_end(r); }});
}

void KindWatch::on_watch_body(std::string_view piece) {
  counters_.bytes.add(piece.size());
  if (status_ != 200) return void(refusal_.append(piece.substr(0, kRefusalBytes - std::min(kRefusalBytes, refusal_.size()))));
  while (!piece.empty()) {
    const size_t newline = piece.find('\n');
    const size_t n = std::min(newline, piece.size());
    if (line_.size() + n > limits::kApiObjectBytesMax) return fail_with(fmt::format("{}: a watch event of more than {} bytes", place(), limits::kApiObjectBytesMax), Next::list);
    line_.append(piece.substr(0, n));
    if (newline == piece.npos) return;
    piece.remove_prefix(newline + 1);
    if (!on_line(line_)) return;
    line_.clear();
    if (line_.capacity() > (1 << 20)) line_.shrink_to_fit();
  }
}

// False: this watch is over.
bool KindWatch::on_line(std::string& line) {
  if (line.find_first_not_of(" \t\r") == line.npos) return true;
  auto e = json_.event(config_.kind, line, place());
  if (!e) return fail_with(e.error().what + "; listed again", Next::list), false;
  if (e->type == WatchEvent::Type::error) {
    status_ = e->status.code;
    if (e->status.code == 410) return retry(Next::list), false;
    return fail_with(fmt::format("{}: the watch was ended: {} {}", place(), e->status.code, e->status.message), Next::list), false;
  }
  ++lines_;
  if (!config_.meta_server && went_back(version_, e->resource_version)) return fail_with(place() + ": the server's state went back in time; listed again", Next::list), false;
  if (!e->resource_version.empty()) version_ = e->resource_version;
  if (e->type == WatchEvent::Type::bookmark) return true;
  counters_.events.add();
  on_object_event(*e);
  return true;
}

void KindWatch::on_object_event(WatchEvent& e) {
  if (!e.trouble.empty()) return note_bad(bad_, e.id, e.trouble);  // what was good before stays
  bad_.erase(e.id.str());
  if (e.type == WatchEvent::Type::deleted) return hooks_.on_remove(e.id);
  had_objects_ = true;
  hooks_.on_upsert(std::move(e.object));
}

void KindWatch::on_watch_end(const Result<void>& r) {
  call_.reset();
  if (status_ != 200 && status_ != 0) return on_refusal();
  if (lines_ > 0 && !relist_) backoff_ = Duration{0};
  const Next next = relist_ ? Next::list : Next::watch;
  if (!r) return on_broken(r.error().what, next);
  retry(next);
}

// ---- what goes wrong

void KindWatch::on_broken(const std::string& why, Next next) {
  unreached_ = status_ == 0;
  fail_with(why, next);
}

void KindWatch::server_answers() {
  if (state_ != State::waiting || !unreached_) return;
  unreached_ = false;  // once: a server that answers only this kind's neighbours is not hurried again
  backoff_ = Duration{0};
  retry_timer_->arm(Duration(int64_t(rng_.below(uint64_t(Duration(kAnsweredWithin).count())))));
}

void KindWatch::on_refusal() {
  const ServerStatus s = json_.status(refusal_);
  if (status_ == 410) {  // the page token or the watch's start is too old
    in_pages_ = page_token_.empty();
    return retry(Next::list);
  }
  if (status_ == 404 || status_ == 405 || status_ == 406) return on_not_found(s.message);
  if (config_.meta_server && config_.may_be_absent && !had_objects_ && status_ >= 500) return on_not_found(s.message);
  fail_with(fmt::format("{}: {}{}{}{}{}", place(), status_, reason_phrase(status_).empty() ? "" : " ", reason_phrase(status_),
                      s.message.empty() ? "" : ": " + s.message, mend_for(status_)), state_ == State::watching && status_ >= 500 && status_ != 504 ? Next::watch : Next::list);
}

void KindWatch::on_not_found(const std::string& message) {
  path_ = (path_ + 1) % config_.paths.size();
  if (++paths_missing_ < config_.paths.size()) return next_ = Next::list, begin();
  paths_missing_ = 0;
  if (!config_.may_be_absent) return fail_with(fmt::format("{}: {} {}: {}{}", place(), status_, reason_phrase(status_), message, mend_for(404)), Next::list);
  if (had_objects_) {  // the kind went away: told only when it stays away
    if (!empty_since_) empty_since_ = loop_.now();
    if (loop_.now() - *empty_since_ < 30s) return fail_with(fmt::format("{}: {} although there were objects", place(), status_), Next::list);
  }
  empty_since_.reset();
  had_objects_ = false;
  well();
  hooks_.on_absent();
  backoff_ = Duration{0};
  retry(Next::list, kLookAgain);
}

void KindWatch::fail_with(std::string line, Next next) {
  counters_.failures.add();
  retry(next, retry_after_);
  say(std::move(line));
}

void KindWatch::say(std::string line) {
  if (line == trouble_) return;
  trouble_ = line;
  muted_ = line == said_ && loop_.now() - said_at_ < kSayAgain;  // it comes and goes
  if (muted_) return;
  said_ = line;
  said_at_ = loop_.now();
  hooks_.on_error(line);
}

void KindWatch::well() {
  if (!std::exchange(trouble_, {}).empty() && !muted_) EM_LOG(info, "objects", "{}: read again", place());
}

void KindWatch::retry(Next next, Duration at_least) {
  call_.reset();
  quiet_timer_->cancel();
  if (state_ == State::watching && loop_.now() - began_ >= kWatchSettled) backoff_ = Duration{0};
  set_state(State::waiting);
  next_ = next;
  backoff_ = std::clamp(backoff_ * 2, kBackoffMin, kBackoffMax);
  const Duration floor = std::max(backoff_ / 2, at_least);
  retry_timer_->arm(floor + Duration(int64_t(rng_.below(uint64_t(floor.count())))) / (at_least > Duration{0} ? 8 : 1));
}

void KindWatch::arm_quiet(Duration d) { quiet_timer_->arm(d); }

void KindWatch::on_quiet() {
  if (state_ == State::watching) return retry(relist_ ? Next::list : Next::watch);
  on_broken(fmt::format("{}: no answer within {} s", place(), to_ms(kQuietList) / 1000), Next::list);
}

}  // namespace base::kube
