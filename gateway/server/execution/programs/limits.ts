/** Bounds of programmatic tool calling; the reference's numbers, in bytes of JSON where they are bytes. */
export const MAX_TOOLS = 100;
/** Code, tools and file references of one program together. */
export const MAX_REQUEST_BYTES = 10_000_000;
export const MAX_RESULTS_PER_REQUEST = 200;
export const MAX_CALLS_PER_PROGRAM = 200;
export const MAX_RESULT_BYTES = 5_000_000;
export const MAX_RESULT_BYTES_PER_PROGRAM = 40_000_000;
/** How long a program waits for its tools' results, from the reply that asked for them. */
export const TOKEN_LIFETIME_MS = 600_000;
/** Programs that run or wait, each with a sandbox of its own. */
export const MAX_PROGRAMS = 64;
/** Of them, those of one user. A key or a private network speaks for many users and has no share of its own. */
export const MAX_PROGRAMS_PER_USER = 8;
/** How long the id of a finished or cancelled request is remembered, and how many are. */
export const REQUEST_ID_MEMORY_MS = 600_000;
export const MAX_REQUEST_IDS = 10_000;
/** Of them, those of one caller: whoever sends more forgets their own. */
export const MAX_REQUEST_IDS_PER_CALLER = 1_000;
/** Output that a reply shows while the program still runs, in UTF-16 units of each stream. */
export const MAX_PARTIAL_OUTPUT = 65_536;
