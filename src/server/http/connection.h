/* SPDX-License-Identifier: Apache-2.0 */
/* An HTTP connection as connection.c, stream.c and reply.c see it. */
#ifndef MP_SERVER_HTTP_CONNECTION_H
#define MP_SERVER_HTTP_CONNECTION_H

#include "server/http/http.h"
#include "server/linger.h"

/* How fast a client takes what waits for it, by looks a second apart. */
typedef struct mp__pace {
    uint64_t since_ns; /* the last look; 0: none yet */
    size_t unsent;     /* then, and what was written since */
    uint64_t bps;      /* before it, where that is known */
    bool is_known;
} mp__pace;

struct mp__http_connection {
    mp__http_connection *next, *previous; /* of the worker */
    mp__worker_loop *worker;
    mp__stream *stream;
    mp__http_parser *parser; /* NULL in a stream */
    mp__buf in;              /* what came behind the request at work */
    mp__in_line line;        /* where that is more than a slice */
    uint64_t stage_since_ns, active_ns;
    mp__taking taking;
    size_t backlog, input, gathered; /* of those of the worker */
    size_t untaken;                  /* of those of the server: of answers for it alone */
    mp__pace pace;
    mp__linger linger; /* the refusal has been sent */
    int stage;
    bool closing;        /* after the answer at work */
    bool ending;         /* all is answered: it closes once that has been sent */
    bool refused;        /* what it sent is no request; behind it there may be more */
    bool closed;         /* no more of the socket; memory stays for what is under way */
    bool released;       /* the stream's memory has gone */
    bool busy;           /* x is under way */
    bool answer_due;     /* the client has gone, and what it asked for is still under way */
    bool in_parse;       /* inside run_all(): answers gather in worker->out */
    bool ended;          /* the client ended its side: no more will be asked */
    bool paused;         /* reading is */
    bool posted;         /* task is queued */
    const char *cut_why; /* the task cuts for this reason; NULL: closes */
    mp__task task;
    mp__exchange x;
};

/* Hand @out to the socket and empty it. False: the connection has gone. */
bool mp__http_write_out(mp__http_connection *c, mp__buf *out);
/* The same with @body behind it, which is copied only as far as the socket does not take it, and
 * not at all where @kept (or NULL) holds it. */
bool mp__http_write_with(mp__http_connection *c, mp__buf *out, mp_str body, const mp_blob *kept);
/* The answer at work is in x.out and done: send it where it was late, go on with what waits. */
void mp__http_answered(mp__http_connection *c);
/* Answer the plain hits that @data begins with into the worker's buffer; the bytes used, 0 when
 * there are none: hits.c. */
size_t mp__http_run_hits(mp__http_connection *c, const char *data, size_t size);
/* "HTTP/1.1 200 OK" and Date, of now. */
enum { MP__STATUS_LINE_200 = sizeof("HTTP/1.1 200 OK\r\n") - 1 };
mp_str mp__answer_head(mp__worker_loop *worker);
/* Whether the handler may run: not for another site's page, nor a body that is none, nor a request
 * that came before. False: answered. */
bool mp__http_admit(mp__exchange *x);

/* Whether the page of another site sent it: its Origin is not the Host. */
bool mp__http_is_cross_site(const mp__http_request *request);
/* Whether a browser sent it and calls the server by a name that a stranger may have given it. */
bool mp__http_is_rebound(const mp__server *server, const mp__http_request *request);
/* The answer that was kept of the same request. */
void mp__answer_again(mp__exchange *x, int status, mp_str kept);
/* @body compressed, behind the headers that stand in x->out; as it is where that fails or does not
 * pay. @kept as of mp__answer_end_kept(). The exchange is over. */
void mp__answer_end_packed(mp__exchange *x, mp_str body, const mp_blob *kept);
/* Let the answer whose headers stand in x->out wait until it is its turn to be compressed; false:
 * it can be at once. pack.c, as are: */
bool mp__http_pack_waits(mp__exchange *x, mp_str body, const mp_blob *kept);
/* @body compressed into @out; false where it fails or does not pay: @out then has nothing of it. */
bool mp__http_pack(mp__worker_loop *worker, mp_str body, mp__buf *out);
/* Free what the exchange holds. */
void mp__exchange_release(mp__exchange *x);

enum mp__http_ending { MP__HTTP_CLOSE, MP__HTTP_CLOSE_AFTER_SENDING, MP__HTTP_RESET };
void mp__http_close(mp__http_connection *c, enum mp__http_ending ending);
/* The same from the loop, not from inside this call. @why is static, or NULL. */
void mp__http_close_soon(mp__http_connection *c, const char *why);

#endif
