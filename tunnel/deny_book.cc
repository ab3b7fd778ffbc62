#include "tunnel/deny_book.h"

#include <sys/stat.h>

#include "base/core/file.h"
#include "base/core/log.h"

namespace tunnel {

static constexpr int kLooksUntilTry = 5;

DenyBook::Stamp DenyBook::stamp_of(const std::string& path) {
  struct stat s {};
  if (path.empty() || ::stat(path.c_str(), &s) != 0) return {};
  return {s.st_mtim.tv_sec, s.st_mtim.tv_nsec, s.st_size, s.st_ino};
}

base::Result<DenyBook> DenyBook::open(Config c) {
  DenyBook book;
  book.config_ = std::move(c);
  if (!book.config_.state_dir.empty()) {
    auto kept = base::DenyList::load(book.kept_path(), book.config_.ca_certs, book.config_.trust_domain);
    if (kept) book.list_ = std::move(*kept);
    else EM_LOG(warn, "tunnel", "{}: ignored; peers or the configured file bring it again", kept.error().what);
  }
  if (book.config_.file.empty()) return book;
  book.seen_ = stamp_of(book.config_.file);
  EM_TRY_ASSIGN(auto list, base::DenyList::load(book.config_.file, book.config_.ca_certs, book.config_.trust_domain));
  (void)book.adopt(std::move(list));  // an older one than was kept is no reason not to start
  return book;
}

bool DenyBook::follow() {
  if (!kept_ && --looks_until_try_ <= 0) keep();
  if (config_.file.empty() || stamp_of(config_.file) == seen_) return false;
  return reload();
}

bool DenyBook::reload() {
  if (config_.file.empty()) return false;
  seen_ = stamp_of(config_.file);
  auto list = base::DenyList::load(config_.file, config_.ca_certs, config_.trust_domain);
  auto taken = list ? adopt(std::move(*list)) : base::Result<bool>(tl::unexpected(list.error()));
  if (!taken) EM_LOG(error, "tunnel", "{}: the deny list in use stays (number {})", taken.error().what, list_.number());
  return taken && *taken;
}

base::Result<bool> DenyBook::take(std::string_view text) {
  EM_TRY_ASSIGN(auto list, base::DenyList::verify(text, config_.ca_certs, config_.trust_domain));
  return adopt(std::move(list));
}

base::Result<bool> DenyBook::adopt(base::DenyList list) {
  if (list.number() == 0 && list_.number() == 0) return false;
  EM_TRY_ASSIGN(bool newer, list_.replace_with(std::move(list)));
  if (newer && !config_.state_dir.empty()) keep();
  return newer;
}

void DenyBook::keep() {
  kept_ = config_.disk->write(kept_path(), list_.text()).has_value();
  looks_until_try_ = kLooksUntilTry;
}

}  // namespace tunnel
