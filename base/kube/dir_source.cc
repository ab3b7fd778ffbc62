#include "base/kube/dir_source.h"

#include <sys/inotify.h>

#include <map>
#include <memory>

#include "base/conf/yaml.h"
#include "base/core/file.h"
#include "base/core/limits.h"
#include "base/core/unique_fd.h"
#include "base/kube/file_walk.h"
#include "base/kube/object_merge.h"

namespace base::kube {
namespace {

// An event starts the first half of the debounce; files whose signature is the same at its end and at the end of the
// second half have come to rest and are read.
constexpr Duration kSettle = std::chrono::milliseconds(10);
constexpr Duration kRetryUnread = std::chrono::milliseconds(250);
constexpr Duration kRetryMissing = std::chrono::seconds(1);
constexpr size_t kSliceBytes = 256 << 10;  // read in one turn of the loop, whole files; calls and queries are served in between
constexpr size_t kFileCost = 1 << 10;      // of opening one, counted as bytes
constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB;

class InotifyDirSource final : public DirSource {
 public:
  InotifyDirSource(Loop& loop, std::string path) : loop_(loop), path_(std::move(path)), timer_(loop.timer([this] { scan(); })) {
    while (path_.size() > 1 && path_.ends_with('/')) path_.pop_back();
  }

  void start(ObjectSink& sink) override {
    sink_ = &sink;
    inotify_ = UniqueFd(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    if (inotify_) fd_watch_ = loop_.watch(inotify_.get(), kFdRead, [this](FdEvents) { on_events(); });
    else blind("no inotify instance left; raise fs.inotify.max_user_instances");
    scan();
  }

  std::vector<FileStatus> files() const override {
    std::vector<FileStatus> out;
    for (const auto& [path, f] : files_) out.push_back({path, f.objects, f.skipped, f.error});
    return out;
  }

  std::vector<std::string> problems() const override {
    std::vector<std::string> out;
    if (!walk_error_.empty()) out.push_back(walk_error_);
    if (!blind_.empty()) out.push_back(blind_);
    for (const auto& [path, f] : files_)
      if (!f.error.empty()) out.push_back(f.error);
    for (auto& line : merge_.conflicts()) out.push_back(std::move(line));
    return out;
  }

 private:
  struct File {
    FileSignature loaded;   // of the content that was read last, good or bad
    FileSignature noticed;  // seen by the previous scan
    bool is_loaded = false;
    size_t objects = 0, skipped = 0;
    std::string error;
  };

  struct Reading {  // of the files of one scan
    std::map<std::string, FileSignature> files;
    std::map<std::string, FileSignature>::const_iterator next;
    bool settled = true, again = false;  // again: something changed meanwhile
  };

  void on_events() {
    alignas(inotify_event) char buf[16384];
    bool ours = false;
    for (ssize_t n; (n = ::read(inotify_.get(), buf, sizeof buf)) > 0;)
      for (ssize_t at = 0; at < n;) {
        const auto* e = reinterpret_cast<const inotify_event*>(buf + at);
        ours |= concerns_us(*e);
        at += ssize_t(sizeof *e + e->len);
      }
    if (ours && reading_) reading_->again = true;
    if (!ours || (timer_->armed() && !retrying_)) return;
    retrying_ = false;
    timer_->arm(kSettle);
  }

  // What happened does not matter, the scan compares signatures; but the parent directory may be a busy one.
  bool concerns_us(const inotify_event& e) const {
    return e.wd != parent_watch_ || e.len == 0 || path_.ends_with("/" + std::string(e.name)) || path_ == e.name;
  }

  void scan() {
    if (reading_) return read_on();
    retrying_ = unread_ = false;
    parent_watch_ = watch(parent_of(path_));  // the path itself may be replaced
    auto walk = walk_manifests(path_);
    if (!walk) return on_walk_error(walk.error().what);
    walk_error_.clear();
    for (const std::string& d : walk->directories) watch(d);
    reading_ = std::make_unique<Reading>();
    reading_->settled = drop_missing(*walk);
    reading_->files = std::move(walk->files);
    reading_->next = reading_->files.begin();
    read_on();
  }

  // Files may need many turns; what they hold is told when all are read, as it always is.
  void read_on() {
    for (size_t read = 0; reading_->next != reading_->files.end(); ++reading_->next) {
      if (read >= kSliceBytes) return timer_->arm(Duration{0});
      const auto& [path, signature] = *reading_->next;
      reading_->settled &= take_up(path, signature, !synced_, read);
    }
    const bool settled = reading_->settled && !reading_->again;
    reading_.reset();
    if (!synced_) merge_.tell_all(*sink_);
    else merge_.tell_changes(*sink_);
    synced_ = true;
    if (!settled) return timer_->arm(kSettle);
    retrying_ = unread_ || !blind_.empty();
    if (retrying_) timer_->arm(unread_ ? kRetryUnread : kRetryMissing);
  }

  // False: the file is still moving.
  bool take_up(const std::string& path, const FileSignature& now, bool at_once, size_t& read) {
    File& f = files_[path];
    if (f.is_loaded && f.loaded == now) return f.noticed = now, true;
    if (!at_once && f.noticed != now) return f.noticed = now, false;
    f.loaded = f.noticed = now;
    f.is_loaded = true;
    load(path, f);
    read += now.size + kFileCost;
    return true;
  }

  void load(const std::string& path, File& f) {
    auto text = read_file(path, limits::kManifestBytesMax);
    if (!text && text.error().code == Code::io) {  // not the file's fault: it may be readable in a moment
      f.is_loaded = false;
      unread_ = true;
    }
    auto parsed = text.and_then([&](const std::string& t) { return parse(t, path); });
    if (!parsed && parsed.error().code == Code::limit && !parsed.error().what.ends_with("split the file")) parsed.error().what += ": split the file";
    if (!parsed) {
      if (f.error != parsed.error().what) sink_->error(parsed.error().what);
      f.error = parsed.error().what;
      return;
    }
    f.error.clear();
    f.objects = parsed->objects.size();
    f.skipped = parsed->skipped;
    merge_.set_file(path, parsed->objects);
  }

  struct Parsed {
    std::vector<PackedObject> objects;
    size_t skipped = 0;
  };
  // Packed document by document: a file of thousands is never unpacked at once.
  static Result<Parsed> parse(std::string_view text, const std::string& path) {
    Parsed out;
    EM_TRY(conf::parse_yaml_stream(text, path, [&](conf::Value&& v) -> Result<void> {
      ParsedDocument one;
      EM_TRY(parse_document(v, path, one));
      out.objects.insert(out.objects.end(), one.objects.begin(), one.objects.end());
      out.skipped += one.skipped;
      return {};
    }));
    return out;
  }

  // A file that vanished may be about to come back under the same name (rm and cp): it too must stay away for one scan.
  bool drop_missing(const FileWalk& walk) {
    bool settled = true;
    for (auto it = files_.begin(); it != files_.end();) {
      if (walk.files.contains(it->first)) {
        ++it;
      } else if (it->second.noticed != FileSignature{}) {
        it->second.noticed = {};
        settled = false;
        ++it;
      } else {
        merge_.set_file(it->first, {});
        it = files_.erase(it);
      }
    }
    return settled;
  }

  void on_walk_error(const std::string& what) {
    const std::string line = what + "; create it or set source.directory";
    if (line != walk_error_) sink_->error(line);
    walk_error_ = line;
    retrying_ = true;
    timer_->arm(kRetryMissing);
  }

  static std::string parent_of(const std::string& path) {
    const size_t slash = path.rfind('/');
    return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  }

  int watch(const std::string& directory) {
    if (!inotify_) return -1;
    const int wd = ::inotify_add_watch(inotify_.get(), directory.c_str(), kEvents | IN_ONLYDIR);  // the same again changes nothing
    if (wd < 0 && (errno == ENOSPC || errno == ENOMEM)) blind("no inotify watch left; raise fs.inotify.max_user_watches");
    return wd;
  }

  // From here on changes are looked for once a second.
  void blind(const std::string& why) {
    if (!blind_.empty()) return;
    blind_ = fmt::format("{}: changes are noticed a second late: {}", path_, why);
    sink_->error(blind_);
  }

  Loop& loop_;
  std::string path_;
  ObjectSink* sink_ = nullptr;
  UniqueFd inotify_;
  int parent_watch_ = -1;
  std::unique_ptr<FdWatch> fd_watch_;
  std::unique_ptr<Timer> timer_;
  std::map<std::string, File> files_;
  ObjectMerge merge_;
  std::unique_ptr<Reading> reading_;
  std::string walk_error_, blind_;
  bool synced_ = false, retrying_ = false, unread_ = false;
};

}  // namespace

std::unique_ptr<DirSource> make_dir_source(Loop& loop, std::string path) { return std::make_unique<InotifyDirSource>(loop, std::move(path)); }

}  // namespace base::kube
