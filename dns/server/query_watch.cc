#include "dns/server/query_watch.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

#include "dns/wire/name.h"

namespace dns {

using namespace std::chrono_literals;

static constexpr auto kWindow = 30s;
static constexpr auto kEvery = 1ms;

template <size_t M>
size_t QueryWatch::Table<M>::place_for(std::string_view k, size_t hash) {
  for (size_t i = 0; i < used_; i++)
    if (hashes_[i] == hash && key(i) == k) return i;
  size_t at;
  if (used_ < kRows) counts_[at = used_++] = 0;
  else at = size_t(std::min_element(counts_.begin(), counts_.end()) - counts_.begin());  // it keeps what the one before had
  hashes_[at] = hash;
  rows_[at].size = uint8_t(k.size());
  std::memcpy(rows_[at].key.data(), k.data(), k.size());
  return at;
}

template <size_t M>
void QueryWatch::Table<M>::add(std::string_view k) {
  last_ = place_for(k.substr(0, M), std::hash<std::string_view>()(k));
}

QueryWatch::QueryWatch(base::Instant now) : now_(std::make_unique<Window>()), before_(std::make_unique<Window>()) { now_->began = before_->began = now; }

void QueryWatch::turn(base::Instant now) {
  if (now - now_->began < kWindow) return;
  std::swap(now_, before_);
  if (now - before_->began >= 2 * kWindow) {  // nobody asked for long
    before_->names.clear(), before_->clients.clear();
    before_->queries = 0;
    before_->began = now;
  }
  now_->names.clear(), now_->clients.clear();
  now_->queries = 0;
  now_->began = now;
}

void QueryWatch::seen(std::string_view name, const base::IpAddr& client, base::Instant now) {
  settle();
  turn(now);
  now_->names.add(name);
  now_->clients.add(base::as_text(client.bytes()));
  due_ = now + kEvery;
}

// What passed counts for what was seen last.
void QueryWatch::settle() {
  if (now_->names.size()) {
    now_->names.weigh(passed_);
    now_->clients.weigh(passed_);
    now_->queries += passed_;
  }
  passed_ = 0;
}

static std::string client_text(std::string_view k) {
  auto* p = reinterpret_cast<const uint8_t*>(k.data());
  return k.size() == 4 ? base::IpAddr::v4(p).str() : base::IpAddr::v6(p).str();
}

static std::string name_text(std::string_view k) {
  auto n = Name::from_wire(base::as_bytes(k));
  return n ? n->text() : "?";
}

static std::vector<TopRow> sorted(const std::map<std::string, uint64_t>& counts, size_t most) {
  std::vector<TopRow> rows;
  for (auto& [what, n] : counts) rows.push_back({what, n});
  std::sort(rows.begin(), rows.end(), [](auto& a, auto& b) { return std::tie(b.queries, a.what) < std::tie(a.queries, b.what); });
  if (rows.size() > most) rows.resize(most);
  return rows;
}

TopView QueryWatch::view(size_t most, base::Instant now) const {
  TopView v;
  std::map<std::string, uint64_t> names, clients;
  base::Instant began = now;
  for (auto* w : {before_.get(), now_.get()}) {
    if (now - w->began > 2 * kWindow) continue;  // long ago
    began = std::min(began, w->began);
    v.queries += w->queries;
    if (w == now_.get() && w->names.size()) {
      v.queries += passed_;
      names[name_text(w->names.key(w->names.last()))] += passed_;
      clients[client_text(w->clients.key(w->clients.last()))] += passed_;
    }
    for (size_t i = 0; i < w->names.size(); i++) names[name_text(w->names.key(i))] += w->names.count(i);
    for (size_t i = 0; i < w->clients.size(); i++) clients[client_text(w->clients.key(i))] += w->clients.count(i);
  }
  v.seconds = std::chrono::duration<double>(now - began).count();
  v.names = sorted(names, most);
  v.clients = sorted(clients, most);
  return v;
}

}  // namespace dns
