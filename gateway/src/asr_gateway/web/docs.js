"use strict";
// The description names no server, so requests go to the gateway that serves this page.
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
