// Objects out of the JSON an API server sends: one object of a list, one line of a watch, the frame around a list, and the
// Status that says why not. Text is parsed in place (that is why it is taken as a string&: it is given room at its end).
#pragma once
#include <memory>
#include <string>
#include <string_view>

#include "base/core/result.h"
#include "base/kube/objects.h"

namespace base::kube {

struct ListFrame {  // a list without its items
  std::string kind, resource_version, next_page;  // metadata.continue
};

struct ServerStatus {  // kind: Status
  int code = 0;
  std::string reason, message;
};

struct ReadObject {
  ObjectPtr object;     // null when it could not be read:
  ObjectName id;        // as far as it can be told
  std::string trouble;  // why not, one line
};

struct WatchEvent {
  enum class Type { added, modified, deleted, bookmark, error };
  Type type = Type::bookmark;
  ObjectName id;                 // of added, modified and deleted
  std::string resource_version;  // "" when the server gave none
  ObjectPtr object;              // of added and modified; null when it could not be read:
  std::string trouble;           // why not
  ServerStatus status;           // of error
};

class JsonReader {
 public:
  JsonReader();
  ~JsonReader();
  // The kind is the one that was asked for: items of lists do not name it. place (what was asked) begins each error.
  ReadObject object(Kind, std::string& text, std::string_view place);
  Result<WatchEvent> event(Kind, std::string& line, std::string_view place);
  Result<ListFrame> list_frame(std::string& text, std::string_view place);
  // What a refusal says; the text itself, shortened, when it is not a Status.
  ServerStatus status(std::string& text);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace base::kube
