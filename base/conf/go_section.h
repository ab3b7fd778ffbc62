// GoSection: one map of a file that a Go program would read, by that program's rules: names match in any case, unknown ones do
// no harm, null leaves the default. What is read is remembered, so that finish() can name the rest. The first mistake of a
// value's type sticks in GoFile and later reads leave their targets alone: read everything, then look at error.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/conf/value.h"
#include "base/core/result.h"

namespace base::conf {

struct GoFile {
  std::string name;
  std::vector<std::string> notes;  // "<file>:<line>:<column>: <path>: <what>"
  std::optional<Error> error;      // the same form

  void note(Mark, const std::string& path, std::string_view what);
  void fail(Mark, const std::string& path, std::string_view what);
};

class GoSection {
 public:
  // value: a map, null or nullptr (both read as an empty map). The file and the value must outlive this.
  GoSection(GoFile&, const Value* value, std::string path);

  // true: the key is there with a value of that type, and it was taken.
  bool read(std::string_view key, bool&);
  bool read(std::string_view key, std::string&);
  bool read(std::string_view key, int64_t&, int64_t min, int64_t max);
  bool read(std::string_view key, std::vector<std::string>&);
  GoSection sub(std::string_view key);
  std::vector<GoSection> list(std::string_view key);  // of maps
  // Each of these keys that is there gets a note: "has no effect: <why>".
  void ignore(std::initializer_list<std::string_view> keys, std::string_view why);
  void finish();  // a note for every key that nothing above asked for

  bool has(std::string_view key);
  Mark mark(std::string_view key);  // of the key's value; of the section when it is not there
  std::string path(std::string_view key) const;
  void note(std::string_view key, std::string_view what) { file_.note(mark(key), path(key), what); }
  void fail(std::string_view key, std::string_view what) { file_.fail(mark(key), path(key), what); }

 private:
  const Value* take(std::string_view key);  // nullptr: not there, or null
  const Value* typed(std::string_view key, const Value*, bool fits, std::string_view wanted);

  GoFile& file_;
  const Value* value_;
  std::string path_;
  std::set<const Member*> taken_;
  std::vector<std::string> asked_;
};

}  // namespace base::conf
