/** When hosts come and go in AWS, where `hostCountMax` lets them. */

/** Of what sandboxes may have on a host. Room for those that come while a new host starts. */
export const MEMORY_GIVEN_PERCENT = 70;
/** From the start of a host to a sandbox of a caller's. */
export const WARMUP_SECONDS = 300;
