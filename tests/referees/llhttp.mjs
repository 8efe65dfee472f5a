// Node's own HTTP/1 parser, llhttp, as it is below node:http: each message that it reads, and where it stops.
// A line of JSON in, {kind: "REQUEST" | "RESPONSE", data: base64, method}, a line of JSON out.
import { createInterface } from "node:readline";

const binding = process.binding("http_parser");
const { HTTPParser } = binding;
const METHODS = binding.allMethods ?? binding.methods;
const STRICT = 0;

function read(kind, data, asked) {
  const messages = [];
  let url = ""; // comes apart from the rest if there are many headers
  let message = null;
  let error = null;
  const parser = new HTTPParser();
  parser.initialize(HTTPParser[kind], {}, 1 << 20, STRICT);
  parser[HTTPParser.kOnMessageBegin | 0] = () => (url = "");
  parser[HTTPParser.kOnHeaders | 0] = (fields, more) => (url += more);
  parser[HTTPParser.kOnHeadersComplete | 0] = (major, minor, fields, method, target, status, reason, upgrade) => {
    message = { method: METHODS[method] ?? "", target: target ?? url, status: status ?? 0, upgrade, body: [], complete: false };
    messages.push(message);
    return kind === "RESPONSE" && asked === "HEAD" ? 1 : 0;
  };
  parser[HTTPParser.kOnBody | 0] = (piece) => message.body.push(Buffer.from(piece));
  parser[HTTPParser.kOnMessageComplete | 0] = () => (message.complete = true);
  for (const step of [() => parser.execute(data), () => parser.finish()]) {
    const result = step();
    if (result instanceof Error) {
      error = result.code;
      break;
    }
  }
  for (const each of messages) each.body = Buffer.concat(each.body).toString("base64");
  return { messages, error };
}

for await (const line of createInterface({ input: process.stdin })) {
  const { kind, data, method } = JSON.parse(line);
  process.stdout.write(JSON.stringify(read(kind, Buffer.from(data, "base64"), method)) + "\n");
}
