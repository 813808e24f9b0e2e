/*
 * launcher.h - the embedded server, for the rest of the extension.
 */
#ifndef NORIKV_LAUNCHER_H
#define NORIKV_LAUNCHER_H

#include "postgres.h"

/*
 * Defines the settings, asks for shared memory and registers the background
 * worker. For _PG_init, while shared_preload_libraries are loaded.
 */
extern void NorikvLauncherInit(void);

/*
 * Where the embedded server listens, as a list of nodes: a unix socket, relative
 * to the data directory, which is where a backend is. Raises 55000 with a hint
 * where this PostgreSQL has no embedded server. Lives as long as the process.
 */
extern const char *NorikvEmbeddedNodes(void);

/* How often it became ready since PostgreSQL started; 0: not yet, or none here. */
extern uint32 NorikvEmbeddedGeneration(void);

/* Why it cannot be reached, for a HINT; NULL where it is ready, or none is here. */
extern const char *NorikvEmbeddedTrouble(void);

#endif
