// blast -s ADDR -p PORT -f QUERIES: one thread of DNS load, prints one JSON object. UDP: batches over -c connected sockets, at most -w queries
// under way, or -r queries per second whatever comes back. TCP (-t): -c pipelined connections; -1: a connection per query.
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}
static void die(const char* m) {
  perror(m);
  exit(1);
}
// log-linear histogram: 64 sub-buckets per power of two (<=1.6% error)
#define SUB 64
static uint64_t hist[64 * SUB];
static void hadd(uint64_t ns) {
  int e = 63 - __builtin_clzll(ns | 1);
  uint64_t b = e < 6 ? ns : (uint64_t)(e - 5) * SUB + ((ns >> (e - 6)) & (SUB - 1));
  hist[b]++;
}
static double hval(uint64_t b) {
  if (b < SUB) return b;
  uint64_t e = b / SUB + 5, m = b % SUB;
  return (double)((1ull << e) + (m << (e - 6)));
}
static double pct(double p, uint64_t n) {
  uint64_t t = (uint64_t)(n * p), c = 0;
  for (uint64_t i = 0; i < 64 * SUB; i++) {
    c += hist[i];
    if (c > t) return hval(i) / 1000.0;
  }
  return 0;
}

typedef struct {
  uint16_t len;
  uint8_t b[288];
} Q;
static Q* qs;
static int nq;
static int edns = 0, dobit = 0;
static int tnum(const char* t) {
  struct {
    const char* n;
    int v;
  } m[] = {{"A", 1}, {"NS", 2}, {"CNAME", 5}, {"SOA", 6}, {"PTR", 12}, {"TXT", 16}, {"AAAA", 28}, {"SRV", 33}, {"ANY", 255}, {"HTTPS", 65}};
  for (unsigned i = 0; i < sizeof m / sizeof *m; i++)
    if (!strcasecmp(t, m[i].n)) return m[i].v;
  return atoi(t);
}
static void load(const char* f) {
  FILE* fp = fopen(f, "r");
  if (!fp) die(f);
  char nm[300], ty[16];
  int cap = 0;
  while (fscanf(fp, "%299s %15s", nm, ty) == 2) {
    if (nq == cap) {
      cap = cap ? cap * 2 : 1024;
      qs = (Q*)realloc(qs, cap * sizeof(Q));
    }
    Q* q = &qs[nq];
    uint8_t* p = q->b;
    memset(p, 0, 12);
    p[2] = 1;
    p[5] = 1;
    p += 12;
    char* s = nm;
    while (*s && strcmp(s, ".")) {
      char* d = strchr(s, '.');
      int l = d ? (int)(d - s) : (int)strlen(s);
      if (!l) break;
      *p++ = l;
      memcpy(p, s, l);
      p += l;
      if (!d) break;
      s = d + 1;
    }
    *p++ = 0;
    int t = tnum(ty);
    *p++ = t >> 8;
    *p++ = t;
    *p++ = 0;
    *p++ = 1;
    if (edns) {
      q->b[11] = 1;
      *p++ = 0;
      *p++ = 0;
      *p++ = 41;
      *p++ = edns >> 8;
      *p++ = edns;
      *p++ = 0;
      *p++ = 0;
      *p++ = dobit ? 0x80 : 0;
      *p++ = 0;
      *p++ = 0;
      *p++ = 0;
    }
    q->len = p - q->b;
    nq++;
  }
  fclose(fp);
  if (!nq) {
    fprintf(stderr, "no queries\n");
    exit(1);
  }
}

#define MAXC 256
#define B 64
static int fd[MAXC];
static uint64_t* ts[MAXC];
static uint16_t nid[MAXC];
static int infl[MAXC];
static uint64_t sent, rcvd, lost, bad, rc[16], withans, tc, bytes;
static void account(const uint8_t* m, int l, int c, uint64_t t) {
  if (l < 12) {
    bad++;
    return;
  }
  uint16_t id = m[0] << 8 | m[1];
  uint64_t s = ts[c][id];
  if (!s || !(m[2] & 0x80)) {
    bad++;
    return;
  }
  ts[c][id] = 0;
  infl[c]--;
  rcvd++;
  bytes += l;
  hadd(t > s ? t - s : 1);
  rc[m[3] & 15]++;
  if (m[6] | m[7]) withans++;
  if (m[2] & 2) tc++;
}
static void expire(int c, uint64_t t, uint64_t lim) {
  for (int i = 0; i < 65536; i++)
    if (ts[c][i] && t > ts[c][i] + lim) {
      ts[c][i] = 0;
      infl[c]--;
      lost++;
    }
}

int main(int argc, char** argv) {
  const char *host = "127.0.0.1", *file = NULL;
  int port = 53, C = 8, W = 256, tcp = 0, one = 0, o;
  double dur = 5, rate = 0, warm = 0.5;
  while ((o = getopt(argc, argv, "s:p:f:d:c:w:r:e:W:tT1D")) != -1) switch (o) {
      case 's':
        host = optarg;
        break;
      case 'p':
        port = atoi(optarg);
        break;
      case 'f':
        file = optarg;
        break;
      case 'd':
        dur = atof(optarg);
        break;
      case 'c':
        C = atoi(optarg);
        break;
      case 'w':
        W = atoi(optarg);
        break;
      case 'r':
        rate = atof(optarg);
        break;
      case 'e':
        edns = atoi(optarg);
        break;
      case 'W':
        warm = atof(optarg);
        break;
      case 't':
        tcp = 1;
        break;
      case '1':
        one = 1;
        tcp = 1;
        break;
      case 'D':
        dobit = 1;
        break;
      default:
        return 2;
    }
  if (!file || C > MAXC || C < 1) {
    fprintf(stderr, "usage: -s addr -p port -f file [-d s] [-c conns] [-w window] [-r rate] [-e edns] [-t tcp] [-1 conn per query]\n");
    return 2;
  }
  load(file);
  struct sockaddr_storage ss = {0};
  socklen_t sl;
  if (strchr(host, ':')) {
    struct sockaddr_in6* a = (sockaddr_in6*)&ss;
    a->sin6_family = AF_INET6;
    a->sin6_port = htons(port);
    inet_pton(AF_INET6, host, &a->sin6_addr);
    sl = sizeof *a;
  } else {
    struct sockaddr_in* a = (sockaddr_in*)&ss;
    a->sin_family = AF_INET;
    a->sin_port = htons(port);
    if (inet_pton(AF_INET, host, &a->sin_addr) != 1) die("addr");
    sl = sizeof *a;
  }
  int wper = W / C;
  if (wper < 1) wper = 1;
  if (wper > 30000) wper = 30000;
  for (int c = 0; c < C; c++) {
    ts[c] = (uint64_t*)calloc(65536, 8);
    if (one) {
      fd[c] = -1;
      continue;
    }
    fd[c] = socket(ss.ss_family, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
    if (fd[c] < 0) die("socket");
    int z = 1 << 22;
    setsockopt(fd[c], SOL_SOCKET, SO_RCVBUF, &z, 4);
    int y = 1;
    if (tcp) setsockopt(fd[c], IPPROTO_TCP, TCP_NODELAY, &y, 4);
    if (connect(fd[c], (sockaddr*)&ss, sl)) die("connect");
    fcntl(fd[c], F_SETFL, O_NONBLOCK);
  }
  static uint8_t rb[B][1536];
  static uint8_t sb[B][300];
  struct mmsghdr rm[B], sm[B];
  struct iovec ri[B], si[B];
  memset(rm, 0, sizeof rm);
  memset(sm, 0, sizeof sm);
  for (int i = 0; i < B; i++) {
    ri[i].iov_base = rb[i];
    ri[i].iov_len = 1536;
    rm[i].msg_hdr.msg_iov = &ri[i];
    rm[i].msg_hdr.msg_iovlen = 1;
    si[i].iov_base = sb[i];
    sm[i].msg_hdr.msg_iov = &si[i];
    sm[i].msg_hdr.msg_iovlen = 1;
  }
  uint8_t *tb[MAXC] = {0}, *wb = NULL;
  int tl[MAXC] = {0};
  if (tcp && !one) {
    for (int c = 0; c < C; c++) tb[c] = (uint8_t*)malloc(1 << 17);
  }
  wb = (uint8_t*)malloc(1 << 17);
  uint64_t t0 = now(), tm = t0 + (uint64_t)(warm * 1e9), te = tm + (uint64_t)(dur * 1e9), nexp = t0 + 200000000ull, t;
  int qi = 0, measuring = 0;
  double sched = t0;
  struct rusage r0, r1;
  uint64_t cto = 1000000000ull, closed = 0;
  while ((t = now()) < te) {
    if (!measuring && t >= tm) {
      measuring = 1;
      memset(hist, 0, sizeof hist);
      sent = rcvd = lost = bad = withans = tc = bytes = 0;
      memset(rc, 0, sizeof rc);
      getrusage(RUSAGE_SELF, &r0);
      tm = t;
      te = t + (uint64_t)(dur * 1e9);
    }
    if (t > nexp) {
      for (int c = 0; c < C; c++) expire(c, t, cto);
      nexp = t + 200000000ull;
    }
    if (one) {  // connection per query, C at a time, blocking connect on loopback is immediate
      for (int c = 0; c < C; c++) {
        int f = socket(ss.ss_family, SOCK_STREAM, 0);
        int y = 1;
        setsockopt(f, IPPROTO_TCP, TCP_NODELAY, &y, 4);
        struct timeval tv = {2, 0};
        setsockopt(f, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
        uint64_t s = now();
        if (connect(f, (sockaddr*)&ss, sl)) {
          close(f);
          lost++;
          continue;
        }
        Q* q = &qs[qi++ % nq];
        wb[0] = q->len >> 8;
        wb[1] = q->len;
        memcpy(wb + 2, q->b, q->len);
        if (write(f, wb, q->len + 2) < 0) {
          close(f);
          lost++;
          continue;
        }
        sent++;
        fd[c] = f;
        ts[c][0] = s;
        infl[c]++;
      }
      for (int c = 0; c < C; c++)
        if (fd[c] >= 0) {
          int n = 0, k;
          while ((k = read(fd[c], wb + n, 65536 - n)) > 0) {
            n += k;
            if (n >= 2 && n >= 2 + (wb[0] << 8 | wb[1])) break;
          }
          if (n > 2) {
            wb[2] = wb[3] = 0;
            account(wb + 2, n - 2, c, now());
          } else {
            lost++;
            infl[c]--;
            ts[c][0] = 0;
          }
          struct linger lg = {1, 0};
          setsockopt(fd[c], SOL_SOCKET, SO_LINGER, &lg, sizeof lg);
          close(fd[c]);
          fd[c] = -1;
        }
      continue;
    }
    for (int c = 0; c < C; c++) {
      if (!tcp) {
        for (;;) {
          int n = recvmmsg(fd[c], rm, B, MSG_DONTWAIT, NULL);
          if (n <= 0) break;
          uint64_t tt = now();
          for (int i = 0; i < n; i++) account(rb[i], rm[i].msg_len, c, tt);
          if (n < B) break;
        }
        int room = wper - infl[c];
        if (rate > 0) {
          t = now();
          double due = ((double)t - sched) * rate / 1e9;
          int d = due < 0 ? 0 : (int)due + 1;
          if (d < room) room = d;
        }
        if (room > B) room = B;
        if (room <= 0) continue;
        uint64_t tt = now();
        for (int i = 0; i < room; i++) {
          Q* q = &qs[qi];
          if (++qi == nq) qi = 0;
          uint16_t id = nid[c]++;
          while (ts[c][id]) id = nid[c]++;
          memcpy(sb[i], q->b, q->len);
          sb[i][0] = id >> 8;
          sb[i][1] = id;
          si[i].iov_len = q->len;
          if (rate > 0) {
            ts[c][id] = (uint64_t)sched;
            sched += 1e9 / rate;
          } else ts[c][id] = tt;
        }
        int n = sendmmsg(fd[c], sm, room, 0);
        if (n < 0) n = 0;
        sent += n;
        infl[c] += room;
        for (int i = n; i < room; i++) {
          uint16_t id = sb[i][0] << 8 | sb[i][1];
          ts[c][id] = 0;
          infl[c]--;
        }
      } else {
        int n = read(fd[c], tb[c] + tl[c], (1 << 17) - tl[c]);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {  // server closed: reopen
          closed++;
          close(fd[c]);
          for (int i = 0; i < 65536; i++)
            if (ts[c][i]) {
              ts[c][i] = 0;
              lost++;
            }
          infl[c] = 0;
          tl[c] = 0;
          fd[c] = socket(ss.ss_family, SOCK_STREAM, 0);
          int y = 1;
          setsockopt(fd[c], IPPROTO_TCP, TCP_NODELAY, &y, 4);
          if (connect(fd[c], (sockaddr*)&ss, sl)) die("reconnect");
          fcntl(fd[c], F_SETFL, O_NONBLOCK);
          continue;
        }
        if (n > 0) {
          int y = 1;
          setsockopt(fd[c], IPPROTO_TCP, TCP_QUICKACK, &y, 4);
          tl[c] += n;
          int off = 0;
          uint64_t tt = now();
          while (tl[c] - off >= 2) {
            int l = tb[c][off] << 8 | tb[c][off + 1];
            if (tl[c] - off < 2 + l) break;
            account(tb[c] + off + 2, l, c, tt);
            off += 2 + l;
          }
          memmove(tb[c], tb[c] + off, tl[c] - off);
          tl[c] -= off;
        }
        int room = wper - infl[c];
        if (rate > 0) {
          t = now();
          double due = ((double)t - sched) * rate / 1e9;
          int d = due < 0 ? 0 : (int)due + 1;
          if (d < room) room = d;
        }
        if (room <= 0 || (rate <= 0 && infl[c] && room < wper / 2)) continue;
        uint64_t tt = now();
        int k = 0;
        for (int i = 0; i < room && k < 60000; i++) {
          Q* q = &qs[qi];
          if (++qi == nq) qi = 0;
          uint16_t id = nid[c]++;
          while (ts[c][id]) id = nid[c]++;
          wb[k] = q->len >> 8;
          wb[k + 1] = q->len;
          memcpy(wb + k + 2, q->b, q->len);
          wb[k + 2] = id >> 8;
          wb[k + 3] = id;
          k += q->len + 2;
          if (rate > 0) {
            ts[c][id] = (uint64_t)sched;
            sched += 1e9 / rate;
          } else ts[c][id] = tt;
          sent++;
          infl[c]++;
        }
        int w = 0;
        while (w < k) {
          int x = write(fd[c], wb + w, k - w);
          if (x < 0) {
            if (errno == EAGAIN) {
              struct pollfd p = {fd[c], POLLOUT, 0};
              poll(&p, 1, 100);
              continue;
            }
            break;
          }
          w += x;
        }
      }
    }
  }
  getrusage(RUSAGE_SELF, &r1);
  double el = (now() - tm) / 1e9;
  double cpu = (r1.ru_utime.tv_sec - r0.ru_utime.tv_sec + r1.ru_stime.tv_sec - r0.ru_stime.tv_sec) +
               (r1.ru_utime.tv_usec - r0.ru_utime.tv_usec + r1.ru_stime.tv_usec - r0.ru_stime.tv_usec) / 1e6;
  uint64_t n = 0;
  for (int i = 0; i < 64 * SUB; i++) n += hist[i];
  printf(
      "{\"qps\":%.0f,\"sent\":%lu,\"rcvd\":%lu,\"lost\":%lu,\"bad\":%lu,\"noerror\":%lu,\"nxdomain\":%lu,\"servfail\":%lu,\"refused\":%lu,"
      "\"with_answer\":%lu,\"tc\":%lu,\"avg_bytes\":%.1f,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"p999_us\":%.1f,\"closed\":%lu,"
      "\"client_cpu\":%.3f,\"secs\":%.2f}\n",
      rcvd / el, sent, rcvd, lost, bad, rc[0], rc[3], rc[2], rc[5], withans, tc, rcvd ? (double)bytes / rcvd : 0, pct(.5, n), pct(.9, n),
      pct(.99, n), pct(.999, n), closed, cpu / el, el);
  return 0;
}
