/** The gateway's user in the service image (`gateway/image/Dockerfile`), and the owner of its files on the host. */
export const SERVICE_UID = 10002;
export const SERVICE_GID = 10002;
