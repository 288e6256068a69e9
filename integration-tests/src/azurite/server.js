// Runs Azurite so that what it has answered is on its disk: it writes every five seconds by itself, and a kill would forget the rest.
//
// usage: node server.js MODULES OPTION…

const { join } = require("path");
const { Server, ServerResponse } = require("http");
const modules = process.argv.splice(2, 1)[0];
const Loki = require(join(modules, "lokijs"));

// Each is saved when it begins, whether there is a file to load it from or not.
const databases = new Set();
const saveDatabase = Loki.prototype.saveDatabase;
Loki.prototype.saveDatabase = function (...words) {
    databases.add(this);
    return saveDatabase.apply(this, words);
};

const save = database => new Promise((done, failed) => database.saveDatabase(error => (error ? failed(error) : done())));
const end = ServerResponse.prototype.end;
ServerResponse.prototype.end = function (...words) {
    if (["GET", "HEAD"].includes(this.req.method)) return end.apply(this, words);
    Promise.all([...databases].map(save)).then(() => end.apply(this, words), error => this.destroy(error));
    return this;
};

// After its five seconds, a connection ends while a request is on its way. The service keeps connections for minutes.
const listen = Server.prototype.listen;
Server.prototype.listen = function (...words) {
    this.keepAliveTimeout = 240000;
    return listen.apply(this, words);
};

require(join(modules, "azurite/dist/src/blob/main.js"));
