// A worker in plain Node.js: takes tasks from an SQS queue and answers each by its callback URL.
import { createHash, createHmac } from "node:crypto";
import { pathToFileURL } from "node:url";

const sha256 = (text) => createHash("sha256").update(text).digest("hex");
const hmac = (key, text) => createHmac("sha256", key).update(text).digest();

/** Headers of a signed request to SQS (AWS Signature Version 4). `now` is a Date. */
export function sign(url, target, body, { region, keyId, secretKey, sessionToken }, now) {
  const stamp = now.toISOString().replace(/[:-]|\.\d{3}/g, "");
  const scope = `${stamp.slice(0, 8)}/${region}/sqs/aws4_request`;
  const headers = {
    "content-type": "application/x-amz-json-1.0",
    host: new URL(url).host,
    "x-amz-date": stamp,
    ...(sessionToken ? { "x-amz-security-token": sessionToken } : {}),
    "x-amz-target": `AmazonSQS.${target}`,
  };
  const names = Object.keys(headers).sort();
  const listed = names.map((name) => `${name}:${headers[name]}\n`).join("");
  const request = ["POST", new URL(url).pathname, "", listed, names.join(";"), sha256(body)].join("\n");
  const text = ["AWS4-HMAC-SHA256", stamp, scope, sha256(request)].join("\n");
  const key = scope.split("/").reduce(hmac, `AWS4${secretKey}`);
  const signature = hmac(key, text).toString("hex");
  headers.authorization = `AWS4-HMAC-SHA256 Credential=${keyId}/${scope}, SignedHeaders=${names.join(";")}, Signature=${signature}`;
  return headers;
}

/** The work itself: statistics of a text. Throws on what is no text. */
export function work(payload) {
  if (typeof payload?.text !== "string") throw new TypeError("payload.text is not a text");
  const words = payload.text.match(/\p{L}+/gu) ?? [];
  const longest = words.reduce((best, word) => (word.length > best.length ? word : best), "");
  return { words: words.length, longest, reversed: [...payload.text].reverse().join("") };
}

async function main(env) {
  const credentials = {
    region: env.AWS_REGION ?? env.AWS_DEFAULT_REGION ?? "us-east-1",
    keyId: env.AWS_ACCESS_KEY_ID,
    secretKey: env.AWS_SECRET_ACCESS_KEY,
    sessionToken: env.AWS_SESSION_TOKEN,
  };
  const endpoint = new URL("/", env.AWS_ENDPOINT_URL ?? env.QUEUE_URL).href;

  async function sqs(target, members) {
    const body = JSON.stringify({ QueueUrl: env.QUEUE_URL, ...members });
    const headers = sign(endpoint, target, body, credentials, new Date());
    const answer = await fetch(endpoint, { method: "POST", headers, body, signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`${target}: ${answer.status} ${await answer.text()}`);
    return answer.json().catch(() => ({}));
  }

  async function call(task, action, body) {
    const headers = { "content-type": "application/json" };
    const sent = { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(30_000) };
    const answer = await fetch(`${task.callback.url}/${action}`, sent);
    if (!answer.ok) throw new Error(`${action}: ${answer.status} ${await answer.text()}`);
  }

  /** Whether the attempt is still waited for: its run may have been cancelled while the task was in the queue. */
  async function isWanted(task) {
    const answer = await fetch(task.callback.url, { signal: AbortSignal.timeout(30_000) });
    if (!answer.ok) throw new Error(`check: ${answer.status} ${await answer.text()}`);
    return (await answer.json()).outstanding;
  }

  async function one(message) {
    const task = JSON.parse(message.Body);
    if (!task.check_before_start || (await isWanted(task))) await answer(task);
    // Deleted last: a worker that dies before this gets the task again, with the same job_id.
    await sqs("DeleteMessage", { ReceiptHandle: message.ReceiptHandle });
  }

  async function answer(task) {
    await call(task, "heartbeat", {});
    let result;
    try {
      result = work(task.config.payload);
    } catch (error) {
      await call(task, "fail", { error: { type: error.name, message: error.message, retryable: false } });
    }
    if (result) await call(task, "complete", { result, metadata: { worker: `node ${process.version}` } });
  }

  console.log("waiting for tasks");
  for (;;) {
    try {
      const { Messages = [] } = await sqs("ReceiveMessage", { MaxNumberOfMessages: 10, WaitTimeSeconds: 10 });
      for (const message of Messages) await one(message);
    } catch (error) {
      // What was not deleted comes again when its visibility timeout is over.
      console.error(error.message);
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
  }
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) await main(process.env);
