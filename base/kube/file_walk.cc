#include "base/kube/file_walk.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "base/core/limits.h"

namespace base::kube {
namespace {

FileSignature signature(const struct stat& st) {
  auto ns = [](const timespec& t) { return int64_t(t.tv_sec) * 1'000'000'000 + t.tv_nsec; };
  return {st.st_dev, st.st_ino, uint64_t(st.st_size), ns(st.st_mtim), ns(st.st_ctim)};
}

bool is_gone(int error) { return error == ENOENT || error == ENOTDIR || error == ELOOP; }  // since it was listed, or a dangling link

bool is_closed_to_us(const std::string& directory) { return ::access(directory.c_str(), R_OK | X_OK) != 0 && (errno == EACCES || is_gone(errno)); }

Result<void> walk_directory(const std::string& path, bool go_down, FileWalk& out) {
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path.c_str()), ::closedir);
  if (!dir) return fail_errno(errno, path);
  out.directories.push_back(path);
  for (;;) {
    errno = 0;
    const dirent* e = ::readdir(dir.get());
    if (!e && errno) return fail_errno(errno, path);  // half a folder is not a smaller folder
    if (!e) return {};
    const std::string name = e->d_name;
    if (name[0] == '.') continue;  // also "..data" and "..2024_01_01_..." of a ConfigMap volume
    const std::string full = path + "/" + name;
    struct stat st {};
    if (::stat(full.c_str(), &st) != 0) {
      if (!is_gone(errno)) return fail_errno(errno, full);
      continue;
    }
    if (S_ISREG(st.st_mode) && is_manifest_name(name)) out.files.emplace(full, signature(st));
    if (out.files.size() > limits::kManifestFilesMax)
      return fail(Code::limit, "{}: more than {} manifests; merge some of them", path, limits::kManifestFilesMax);
    if (!S_ISDIR(st.st_mode) || !go_down) continue;
    if (!is_closed_to_us(full)) EM_TRY(walk_directory(full, false, out));
  }
}

}  // namespace

bool is_manifest_name(std::string_view n) {
  return !n.empty() && n[0] != '.' && (n.ends_with(".yaml") || n.ends_with(".yml") || n.ends_with(".json"));
}

Result<FileWalk> walk_manifests(const std::string& path) {
  FileWalk out;
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return fail_errno(errno, path);
  if (S_ISDIR(st.st_mode)) EM_TRY(walk_directory(path, true, out));
  else out.files.emplace(path, signature(st));
  return out;
}

}  // namespace base::kube
