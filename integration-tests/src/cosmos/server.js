// Runs the emulator of Cosmos DB, which keeps all in memory, so that what it has answered is on its disk: a restart or a kill forgets
// nothing.
//
// usage: node server.js MODULES PORT

const { appendFileSync, existsSync, readFileSync } = require("fs");
const { join } = require("path");
const { ServerResponse } = require("http");
const [modules, port] = process.argv.slice(2);
const emulator = join(modules, "@vercel/cosmosdb-server/lib");

// A line for each write that was done.
const JOURNAL = "journal";

// Does what a line says once more: with the data of the answer, which has what the emulator chose.
const redo = (account, { method, path, partition, data }) => {
    const [database, collection, item] = path.split("/").filter((_, at) => at > 1 && at % 2 === 0).map(decodeURIComponent);
    const kind = path.split("/").filter((_, at) => at % 2 === 1).pop();
    const items = {
        dbs: () => account.databases,
        colls: () => account.database(database).collections,
        docs: () => account.database(database).collection(collection).documents,
    }[kind]();
    if (method === "DELETE") {
        items.delete({ dbs: database, colls: collection, docs: item }[kind], partition && JSON.parse(partition)[0]);
        return;
    }
    items._ridCount += method === "POST" ? 1 : 0;
    items._set(data);
};

const accounts = require(join(emulator, "account"));
const Account = accounts.default;
accounts.default = class extends Account {
    constructor(...words) {
        super(...words);
        if (!existsSync(JOURNAL)) return;
        // The last line may be half a line: what it was about had no answer.
        readFileSync(JOURNAL, "utf8").split("\n").slice(0, -1).forEach(line => redo(this, JSON.parse(line)));
    }
};

// The emulator fails at reading a document that is not there, unless it looks for it in all partitions.
const reading = require(join(emulator, "handler/read-document"));
const read = reading.default;
reading.default = (account, request, ...more) => {
    request.headers["x-ms-documentdb-query-enablecrosspartition"] = "true";
    return read(account, request, ...more);
};

const end = ServerResponse.prototype.end;
ServerResponse.prototype.end = function (...words) {
    const { method, url, headers } = this.req;
    if (method !== "GET" && this.statusCode < 300 && !headers["x-ms-documentdb-isquery"]) {
        const data = method === "DELETE" ? undefined : JSON.parse(words[0]);
        const line = { method, path: url.split("?")[0], partition: headers["x-ms-documentdb-partitionkey"], data };
        appendFileSync(JOURNAL, `${JSON.stringify(line)}\n`);
    }
    return end.apply(this, words);
};

const server = require(join(emulator, "index.js")).createHttpServer({ keepAlive: true });
// After the five seconds of Node, a connection ends while a request is on its way. The service keeps connections for minutes.
server.keepAliveTimeout = 240000;
server.listen(Number(port), "127.0.0.1");
