#include "base/core/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/core/unique_fd.h"

namespace base {
namespace {

Result<void> write_all(int fd, std::string_view content, const std::string& path) {
  while (!content.empty()) {
    ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, path);
    content.remove_prefix(size_t(n));
  }
  return {};
}

// The rename itself is only durable once the folder is.
void sync_folder_of(const std::string& path) {
  auto slash = path.rfind('/');
  std::string dir = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  UniqueFd d(::open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (d) ::fsync(d.get());
}

Result<void> write_temporary(const std::string& tmp, std::string_view content, mode_t mode) {
  ::unlink(tmp.c_str());
  UniqueFd fd(::open(tmp.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode));
  if (!fd) return fail_errno(errno, tmp);
  EM_TRY(write_all(fd.get(), content, tmp));
  if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) return fail_errno(errno, tmp);
  return {};
}

}  // namespace

Result<std::string> read_file(const std::string& path, size_t bytes_max) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd && errno == ENOENT) return fail(Code::not_found, "{}: no such file", path);
  if (!fd) return fail_errno(errno, path);
  std::string out;
  char buf[16384];
  for (;;) {
    ssize_t n = ::read(fd.get(), buf, sizeof buf);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail_errno(errno, path);
    if (n == 0) return out;
    if (out.size() + size_t(n) > bytes_max) return fail(Code::limit, "{}: larger than {} bytes", path, bytes_max);
    out.append(buf, size_t(n));
  }
}

Result<void> write_file_atomic(const std::string& path, std::string_view content, mode_t mode) {
  std::string tmp = path + ".tmp";
  auto wrote = write_temporary(tmp, content, mode);
  if (wrote && ::rename(tmp.c_str(), path.c_str()) != 0) wrote = fail_errno(errno, path);
  if (!wrote) {
    ::unlink(tmp.c_str());
    return wrote;
  }
  sync_folder_of(path);
  return {};
}

}  // namespace base
