/** The sandbox broke the protocol: nothing that follows can be trusted, and the conversation ends. */
export class Violation extends Error {
  override readonly name = "Violation";
}
