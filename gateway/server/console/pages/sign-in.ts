/** The way in. */
import { html } from "hono/html";
import type { Html, View } from "../layout.ts";

export const signInPage = ({ text }: View, problem: "wrongKey" | "tooManyTries" | null): Html =>
  html`<form class="sign-in" method="post" action="/sign-in">
${problem === null ? "" : html`<p class="banner unhealthy" role="alert">${text[problem]}</p>`}
<label for="key">${text.operatorKey}</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus>
<p class="note">${text.operatorKeyHelp}</p>
<button class="main">${text.signIn}</button>
</form>`;
