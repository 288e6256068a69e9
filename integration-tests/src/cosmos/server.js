// Runs the emulator of Cosmos DB, which keeps all in memory, so that what it has answered is on its disk: a restart or a kill forgets
// nothing.
//
// usage: node server.js MODULES PORT

const { existsSync, readFileSync, renameSync, writeFileSync } = require("fs");
const { join } = require("path");
const { ServerResponse } = require("http");
const [modules, port] = process.argv.slice(2);
const emulator = join(modules, "@vercel/cosmosdb-server/lib");
const FILE = "state.json";

// What is in each item of a list, from accounts down.
const INSIDE = ["databases", "collections", "documents"];

const dump = (items, depth) => ({
    count: items._ridCount,
    items: [...items._data.values()].map(item => {
        const inside = item[INSIDE[depth + 1]];
        return { data: item.read(), inside: inside && dump(inside, depth + 1) };
    }),
});

const restore = (items, dumped, depth) => {
    items._ridCount = dumped.count;
    for (const { data, inside } of dumped.items) {
        items._set(data);
        if (inside) restore(items._data.get(data._rid)[INSIDE[depth + 1]], inside, depth + 1);
    }
};

let account;
const accounts = require(join(emulator, "account"));
const Account = accounts.default;
accounts.default = class extends Account {
    constructor(...words) {
        super(...words);
        account = this;
        if (existsSync(FILE)) restore(this.databases, JSON.parse(readFileSync(FILE)), 0);
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
    if (this.req.method !== "GET" && !this.req.headers["x-ms-documentdb-isquery"]) {
        writeFileSync(`${FILE}.new`, JSON.stringify(dump(account.databases, 0)));
        renameSync(`${FILE}.new`, FILE);
    }
    return end.apply(this, words);
};

require(join(emulator, "index.js")).createHttpServer({ keepAlive: true }).listen(Number(port), "127.0.0.1");
