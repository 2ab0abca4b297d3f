// Verifies a webhook: {secret, headers, body} on standard input.
const { Webhook, WebhookVerificationError } = require("standardwebhooks");

const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
try {
  new Webhook(given.secret).verify(given.body, given.headers);
  console.log("verified");
} catch (error) {
  if (!(error instanceof WebhookVerificationError)) throw error;
  console.log("refused");
}
