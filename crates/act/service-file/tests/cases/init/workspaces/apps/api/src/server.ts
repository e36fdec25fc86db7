app.listen(Number(process.env.PORT))
