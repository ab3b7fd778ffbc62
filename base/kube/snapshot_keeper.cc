#include "base/kube/snapshot_keeper.h"

#include <algorithm>

#include "base/core/file.h"
#include "base/core/limits.h"
#include "base/core/log.h"
#include "base/core/scheduling.h"

namespace base::kube {

static std::string utc(uint64_t seconds) {
  using namespace std::chrono;
  const sys_seconds at{std::chrono::seconds(int64_t(std::min<uint64_t>(seconds, 253402300799)))};  // year 9999
  const auto day = floor<days>(at);
  const year_month_day date{day};
  const hh_mm_ss time{at - day};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", int(date.year()), unsigned(date.month()), unsigned(date.day()), time.hours().count(),
                     time.minutes().count(), time.seconds().count());
}

SnapshotKeeper::SnapshotKeeper(Loop& loop, TableBuilder& next, Metrics& metrics, Options options)
    : loop_(loop), next_(next), options_(std::move(options)),
      failures_(metrics.counter("edgemeshd_snapshot_failures_total", "Snapshots of the objects that were damaged or could not be read.")),
      timer_(loop.timer([this] { write(); })) {}

SnapshotKeeper::~SnapshotKeeper() {
  *alive_ = false;
  end_writer();
}

void SnapshotKeeper::end_writer() {
  if (!writer_.joinable()) return;
  if (under_way_->drop()) writer_.detach();  // it has what it works on, and touches nothing of ours any more
  else writer_.join();
}

// ---- start

bool SnapshotKeeper::load() {
  if (options_.path.empty()) return false;
  auto bytes = read_file(options_.path, limits::kSnapshotBytesMax);
  if (bytes) return load(*bytes, options_.path);
  if (bytes.error().code == Code::not_found) return false;
  failures_.add();
  EM_LOG(warn, "objects", "{}: the snapshot is ignored, objects come from the source", bytes.error().what);
  return false;
}

bool SnapshotKeeper::load(std::string_view bytes, const std::string& where) {
  auto s = decode_snapshot(bytes);
  if (!s) {
    failures_.add();
    EM_LOG(warn, "objects", "{}: {}: the snapshot is ignored, objects come from the source", where, s.error().what);
    return false;
  }
  loaded_from_ = fmt::format("objects from the snapshot of {}, source not reached", utc(s->written_s));
  in_use_then_ = s->in_use;
  on_disk_ = s->content;
  std::vector<PackedObject> kinds[kKinds];
  for (PackedObject& o : s->objects) kinds[size_t(o.kind())].push_back(std::move(o));
  for (size_t k = 0; k < kKinds; ++k) next_.replace(Kind(k), std::move(kinds[k]));
  for (size_t k = 0; k < kKinds; ++k) next_.synced(Kind(k));
  return true;
}

// ---- the source's words, passed on

void SnapshotKeeper::replace(Kind k, std::vector<PackedObject> all) {
  next_.replace(k, std::move(all));
  touch();
}

void SnapshotKeeper::upsert(PackedObject o) {
  next_.upsert(std::move(o));
  touch();
}

void SnapshotKeeper::remove(Kind k, const ObjectName& id) {
  next_.remove(k, id);
  touch();
}

void SnapshotKeeper::synced(Kind k) {
  next_.synced(k);
  synced_[size_t(k)] = true;
  if (source_reached_ || !std::ranges::all_of(synced_, [](bool b) { return b; })) return;
  source_reached_ = true;
  touch();
}

// ---- the file

void SnapshotKeeper::touch() {
  changed_ = true;  // half a list is worth less than the file we have
  if (source_reached_ && !options_.path.empty() && !timer_->armed()) timer_->arm(options_.every);
}

Snapshot SnapshotKeeper::take() const {
  Snapshot s;
  s.written_s = options_.now_s ? options_.now_s() : 0;
  next_.each_object([&](const PackedObject& o) { s.objects.push_back(o); });
  if (options_.in_use) s.in_use = options_.in_use();
  return s;
}

std::string SnapshotKeeper::bytes_now() const { return encode_snapshot(take()).bytes; }

// Objects are immutable, so the thread may encode them while the loop goes on.
void SnapshotKeeper::write() {
  if (!changed_) return;
  if (writing_) return timer_->arm(options_.every);
  changed_ = false;
  writing_ = true;
  if (writer_.joinable()) writer_.join();
  under_way_ = std::make_shared<Writing>();
  auto run = [this, w = under_way_, s = take(), before = on_disk_, path = options_.path, disk = options_.disk, alive = std::weak_ptr(alive_)] {
    run_in_background();
    const SnapshotBytes b = encode_snapshot(s);
    if (!w->begin()) return;
    Result<void> r = b.content == before ? Result<void>() : disk->write(path, b.bytes);
    loop_.post([this, alive, r, content = b.content] {
      if (auto still = alive.lock(); still && *still) written(r, content);
    });
  };
  try {
    writer_ = std::thread(std::move(run));
  } catch (const std::exception& e) {
    EM_LOG(warn, "objects", "{}: no thread to write it ({}): calls wait for the disk once", options_.path, e.what());
    const SnapshotBytes b = encode_snapshot(take());
    written(b.content == on_disk_ ? Result<void>() : options_.disk->write(options_.path, b.bytes), b.content);
  }
}

void SnapshotKeeper::written(Result<void> r, uint64_t content) {
  writing_ = false;
  if (r) on_disk_ = content;
  else touch();
}

void SnapshotKeeper::write_now() {
  if (!changed_ && !writing_) return;
  end_writer();
  writing_ = false;
  if (!source_reached_ || options_.path.empty()) return;
  const SnapshotBytes b = encode_snapshot(take());
  if (b.content == on_disk_) return;
  (void)options_.disk->write(options_.path, b.bytes);  // the disk says what is wrong with it
}

std::vector<std::string> SnapshotKeeper::problems() const {
  std::vector<std::string> out;
  if (loaded() && !source_reached_) out.push_back(loaded_from_);
  return out;
}

}  // namespace base::kube
