#include "dns/upstream/cache_keeper.h"

#include "base/core/file.h"
#include "base/core/log.h"

namespace dns {

using namespace std::chrono_literals;

static constexpr size_t kStep = 256;         // entries of one turn: about 0.1 ms
static constexpr size_t kStepsAtOnce = 4;    // of the start: what was used last

CacheKeeper::CacheKeeper(base::Loop& loop, AnswerCache& cache, base::Metrics& m, CacheFileOptions o, std::chrono::seconds stale_max)
    : loop_(loop),
      cache_(cache),
      options_(std::move(o)),
      stale_max_(stale_max),
      loaded_(m.gauge("edgemeshd_dns_cache_loaded", "Answers taken over from the cache file of the last run.")),
      failures_(m.counter("edgemeshd_dns_cache_file_failures_total", "Cache files that were damaged or could not be read.")),
      timer_(loop.timer([this] { due(); })) {
  if (!options_.path.empty()) cache_.on_put([this](bool is_new) { changed(is_new); });
}

CacheKeeper::~CacheKeeper() {
  *alive_ = false;
  cache_.on_put({});
  if (thread_.joinable()) thread_.join();
}

CacheMoment CacheKeeper::moment() const { return {loop_.now(), options_.wall_s ? options_.wall_s() : 0, options_.boot}; }

// ---- start

void CacheKeeper::load() {
  if (options_.path.empty()) return;
  auto bytes = base::read_file(options_.path, 2 * (cache_.bytes_max() + kMessageMax));
  if (!bytes && bytes.error().code == base::Code::not_found) return;
  auto ignored = [this](const std::string& why) {
    failures_.add();
    EM_LOG(warn, "dns", "{}: the file is ignored, names are resolved anew", why);
  };
  if (!bytes) return ignored(bytes.error().what);
  file_ = std::move(*bytes);
  auto r = CacheFileReader::open(base::as_bytes(file_), moment(), stale_max_);
  if (!r) return ignored(fmt::format("{}: {}", options_.path, r.error().what));
  reader_ = std::make_unique<CacheFileReader>(std::move(*r));
  for (size_t i = 0; i < kStepsAtOnce && reader_; i++) load_some();
}

void CacheKeeper::load_some() {
  bool more = true;
  for (size_t i = 0; i < kStep && more; i++) {
    auto e = reader_->next();
    more = e.has_value();
    if (e && cache_.put_last(e->question, std::move(e->answer))) loaded_.add(1);
  }
  if (!more) {
    reader_.reset();
    std::string().swap(file_);
    return;
  }
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (auto still = alive.lock(); still && *still && reader_) load_some();
  });
}

// ---- the file

void CacheKeeper::changed(bool is_new) {
  if (stopped_) return;
  const bool sooner = is_new && !pending_new_;
  pending_ = true;
  pending_new_ |= is_new;
  if (writing_ || (timer_->armed() && !sooner)) return;
  const base::Duration soonest = options_.first;
  const base::Instant not_before = ever_written_ ? written_at_ + (pending_new_ ? options_.every : options_.refresh) : loop_.now();
  timer_->arm(std::max<base::Duration>(soonest, not_before - loop_.now()));
}

void CacheKeeper::due() {
  if (!pending_ || writing_ || stopped_) return;
  if (reader_) return timer_->arm(options_.first);  // the file still holds what the cache does not
  writing_ = true;
  pending_ = pending_new_ = false;
  written_at_ = loop_.now();
  ever_written_ = true;
  writer_ = std::make_unique<CacheFileWriter>(moment());
  cache_.walk_begin();
  take_some();
}

void CacheKeeper::take_some() {
  bool more = cache_.walk(kStep, [this](std::string_view key, const StoredAnswer& a) {
    if (writer_->size() < 2 * cache_.bytes_max()) writer_->add(key, a);
  });
  if (!more) return hand_to_thread();
  loop_.post([this, alive = std::weak_ptr(alive_)] {
    if (auto still = alive.lock(); still && *still && writer_) take_some();
  });
}

void CacheKeeper::hand_to_thread() {
  if (thread_.joinable()) thread_.join();
  auto file = std::shared_ptr<CacheFileWriter>(std::move(writer_));
  auto run = [this, file, path = options_.path, disk = options_.disk, alive = std::weak_ptr(alive_)] {
    auto bytes = file->finish();
    auto r = disk->write(path, base::as_text(bytes));
    loop_.post([this, alive, r] {
      if (auto still = alive.lock(); still && *still) written(r);
    });
  };
  try {
    thread_ = std::thread(std::move(run));
  } catch (const std::exception& e) {
    EM_LOG(warn, "dns", "{}: no thread to write it: {}: it is tried again", options_.path, e.what());
    written(base::fail(base::Code::unavailable, "{}", e.what()));
  }
}

void CacheKeeper::written(base::Result<void> r) {
  writing_ = false;
  if (!r) changed(true);
  else if (pending_) changed(pending_new_);
}

void CacheKeeper::write_now() {
  if (options_.path.empty() || stopped_ || (!pending_ && !writing_)) return;
  while (reader_) load_some();
  if (thread_.joinable()) thread_.join();
  CacheFileWriter w(moment());
  cache_.walk_begin();
  while (cache_.walk(kStep, [&](std::string_view key, const StoredAnswer& a) { w.add(key, a); })) {}
  writer_.reset();
  pending_ = writing_ = false;
  (void)options_.disk->write(options_.path, base::as_text(w.finish()));  // the disk says what is wrong with it
}

void CacheKeeper::stop() {
  stopped_ = true;
  timer_->cancel();
  writer_.reset();
  if (thread_.joinable()) thread_.join();
}

}  // namespace dns
