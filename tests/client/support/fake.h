/*
 * fake.h - a client and one or two fake servers to test it against.
 */
#ifndef TEST_FAKE_H
#define TEST_FAKE_H

#include "norikv.h"
#include "../../support/programs.h"

#define FAKE_SERVERS 2

typedef struct fake_scene
{
	char		dir[256];
	char		nodes[FAKE_SERVERS][300];	/* unix sockets in dir */
	program		servers[FAKE_SERVERS];
	norikv_client *client;
	norikv_options options;		/* long timeouts; fake_open() takes them */
} fake_scene;

/* A cmocka setup and teardown; *state is the scene. */
extern int	fake_setup(void **state);
extern int	fake_teardown(void **state);
/* A setup whose server 0 is norikvd, in memory, with a client of it. */
extern int	fake_setup_norikvd(void **state);

/* Starts server 0 or 1 with these options of fake_norikv; the list ends with NULL. */
extern void fake_start(fake_scene *scene, int server, ...) __attribute__((sentinel));
extern void fake_stop(fake_scene *scene, int server);
/* Starts norikvd, in memory, as server 0. */
extern void fake_start_norikvd(fake_scene *scene);

/* A client of the servers from first on, so many of them; closes the one before. */
extern void fake_open(fake_scene *scene, int first, int count);

/* What the server itself says of what it saw: "puts", "gets", "applied", ... */
extern int	fake_count(fake_scene *scene, int server, const char *what);
extern void fake_ask(fake_scene *scene, int server, const char *what, char *out,
					 size_t size);

/* Waits until the call is done; fails the test where that takes over a minute. */
extern norikv_call *fake_wait(fake_scene *scene, norikv_call *call);
/* The same, and the call must have gone well. */
extern norikv_call *fake_wait_ok(fake_scene *scene, norikv_call *call);

extern norikv_operation fake_put(const char *key, const char *value);
/* Puts, and it must go well. */
extern norikv_version fake_put_now(fake_scene *scene, const char *key, const char *value);
/* The value of the key must be this; NULL: absent. */
extern void fake_expect(fake_scene *scene, const char *key, const char *value);

#endif
